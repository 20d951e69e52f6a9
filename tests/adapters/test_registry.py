"""Adapters are found by their entry points; one file is enough for a new one."""

import sys
from pathlib import Path

import pytest

from app.adapters.adapter import Adapter
from app.adapters.http_json import HttpJsonAdapter
from app.adapters.registry import adapter_names, find_adapter

ADAPTER = """
from app.adapters.adapter import Answer


class PaperAdapter:
    honours_idempotency_key = False

    @classmethod
    def of(cls, settings):
        return cls()

    async def clock(self):
        return None

    async def check_credentials(self, credentials):
        return Answer("valid")

    async def book(self, order, credentials, fire):
        await fire()
        return Answer("booked", confirmation="on paper")

    async def lookup(self, order, credentials):
        return Answer("unknown")

    async def close(self):
        pass
"""


def install(folder: Path, name: str, entry: str) -> None:
    """What pip leaves of a package with one adapter."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[holdfast.adapters]\n{entry}\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "paper_adapter", raising=False)
    (tmp_path / "paper_adapter.py").write_text(ADAPTER)
    return tmp_path


def test_our_own_are_installed() -> None:
    assert {"http_json", "browser"} <= set(adapter_names())
    ours: type[Adapter] = HttpJsonAdapter
    assert find_adapter("http_json") is ours


def test_somebody_elses_is_found_once_it_is_installed(packages: Path) -> None:
    install(packages, "paper", "paper = paper_adapter:PaperAdapter")

    assert "paper" in adapter_names()
    assert find_adapter("paper").of({}).honours_idempotency_key is False


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"the adapter 'nobody' is not installed; installed are .*http_json"):
        find_adapter("nobody")


def test_two_of_one_name_are_refused(packages: Path) -> None:
    install(packages, "paper", "paper = paper_adapter:PaperAdapter")
    install(packages, "papyrus", "paper = paper_adapter:PaperAdapter")

    with pytest.raises(ValueError, match="the adapter 'paper' is installed twice"):
        find_adapter("paper")


@pytest.mark.parametrize(
    "entry", ["paper = paper_adapter:Nobody", "paper = nobody_here:Adapter", "paper = torn_adapter:Adapter"]
)
def test_one_that_cannot_be_loaded_is_refused(packages: Path, entry: str) -> None:
    (packages / "torn_adapter.py").write_text("class Adapter(\n")
    install(packages, "paper", entry)

    with pytest.raises(ValueError, match="the adapter 'paper' cannot be loaded"):
        find_adapter("paper")
