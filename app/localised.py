"""Texts in several languages, from template files: a folder a language."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import FileSystemLoader, StrictUndefined, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

# how each language writes a date
SHARED = Path(__file__).parent / "templates"
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


class Localised:
    """The templates of these folders: a file in one stands before those of the same name in the next.

    They are sandboxed: who may write a template may not run code, and everything in HTML is escaped.
    """

    def __init__(self, folders: Sequence[Path], default_language: str) -> None:
        self._default_language = default_language
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader([*folders, SHARED]),
            autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, name: str, facts: Mapping[str, Any]) -> str:
        """The text of one file. Raises jinja2.TemplateError for one that is none, or names what there is not."""
        return self._environment.get_template(f"{name}.jinja").render(facts).strip()

    def spoken(self, name: str, language: str | None) -> str:
        """The language in which there is this file: the one asked for, else the default one, else English."""
        wanted = language if language and LANGUAGE.fullmatch(language) else self._default_language
        for candidate in (wanted, wanted.partition("-")[0], self._default_language):
            try:
                self._environment.get_template(f"{candidate}/{name}.jinja")
            except TemplateNotFound:
                continue
            return candidate
        return "en"


def local(time: str | None, zone: ZoneInfo) -> datetime | None:
    """A time, as the database writes it, by the clocks of a zone."""
    return datetime.fromisoformat(time).astimezone(zone) if time else None


def with_local_times(auto_sync: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    """The facts of an auto-sync as templates read them: `times` by the clocks of a zone, and `winner`, one of them."""
    times = [
        t | {"starts_at": local(t["starts_at"], zone), "ends_at": local(t["ends_at"], zone)} for t in auto_sync["times"]
    ]
    winner = next((t for t in times if t["id"] == auto_sync["winning_time_id"]), None)
    return {**auto_sync, "times": times, "winner": winner}
