"""docs/providers.md says what is so."""

import json
import sys
from pathlib import Path
from typing import get_args

import pytest

from app.adapters.adapter import Finding
from app.adapters.http_json import HttpJsonAdapter
from app.adapters.registry import find_adapter
from app.simulator.world import Fault
from tests.adapters.support import CREDENTIALS, ORDER, Simulator, adapter_of, at_once
from tests.adapters.test_registry import install

DOCS = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()


def block(language: str) -> str:
    """The first example in that language."""
    return DOCS.split(f"```{language}\n")[1].split("```")[0]


async def test_the_example_books_and_finds_again_what_it_booked(simulator: Simulator) -> None:
    settings = json.loads(block("json"))
    HttpJsonAdapter.of(settings)

    async with adapter_of({**settings, "base_url": simulator.url}) as adapter:
        booked = await adapter.book(ORDER, CREDENTIALS, at_once)
        found = await adapter.lookup(ORDER, CREDENTIALS)

    assert (booked.finding, booked.confirmation) == ("booked", "SIM-0001")
    assert (found.finding, found.confirmation) == ("booked", "SIM-0001")


def test_the_example_of_an_adapter_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "paper_adapter", raising=False)
    (tmp_path / "paper_adapter.py").write_text(block("python"))
    install(tmp_path, "paper", block("toml").splitlines()[1].replace('"', ""))

    adapter = find_adapter("paper")

    assert not adapter.of({"drawer": 1}).honours_idempotency_key
    with pytest.raises(ValueError, match="drawer"):
        adapter.of({})


@pytest.mark.parametrize("word", [*get_args(Finding), *get_args(Fault.model_fields["kind"].annotation)])
def test_every_finding_and_fault_is_told(word: str) -> None:
    assert f"`{word}`" in DOCS
