""".env.example lists every setting, and no setting that does not exist."""

import re
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.contracts.support import ROOT

LINE = re.compile(r"^(# )?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def from_file(path: Path | None) -> Settings:
    """Settings from that file beside the environment."""
    arguments: dict[str, Any] = {"_env_file": path}
    return Settings(**arguments)


@pytest.fixture
def example() -> dict[str, str]:
    """Each variable of the file with its value, commented out or not."""
    found = LINE.findall((ROOT / ".env.example").read_text())
    names = [name for _, name, _ in found]
    assert len(set(names)) == len(names), "a variable is listed twice"
    return {name: value for _, name, value in found}


def test_every_setting_has_a_line_and_every_line_a_setting(example: dict[str, str]) -> None:
    assert set(example) == {name.upper() for name in Settings.model_fields}


def test_the_file_is_a_set_of_settings_as_it_stands(example: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in example:
        monkeypatch.delenv(name, raising=False)

    assert from_file(ROOT / ".env.example").port == 8000


def test_every_line_that_is_commented_out_could_be_used(
    example: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in example.items():
        monkeypatch.setenv(name, value)

    assert from_file(None).host == "127.0.0.1"
