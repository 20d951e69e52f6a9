"""Messages from templates in files: a folder a language, a file a part."""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

OURS = Path(__file__).parent / "templates"
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
TIMES = ("starts_at", "ends_at", "expires_at", "created_at", "updated_at")


class Rendered(NamedTuple):
    """A message in every form."""

    language: str
    subject: str
    text: str
    html: str
    sms: str


class Templates:
    """The templates in force: a file in `folder`, where there is one, stands before ours of the same name.

    They are sandboxed: who may write a template may not run code, and everything in HTML is escaped.
    """

    def __init__(self, folder: Path | None, default_language: str) -> None:
        self._default_language = default_language
        self._environment = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([FileSystemLoader(path) for path in (folder, OURS) if path]),
            autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, template: str, language: str | None, facts: Mapping[str, Any]) -> Rendered:
        """The message in the customer's language, else in the default one, else in English.

        Raises jinja2.TemplateError for a template that is not one, or names what there is not.
        """
        spoken = self._spoken(template, language)

        def part(name: str) -> str:
            return self._environment.get_template(f"{spoken}/{template}.{name}.jinja").render(facts).strip()

        # a header, and a text message, are one line each
        subject, sms = (" ".join(part(name).split()) for name in ("subject", "sms"))
        return Rendered(spoken, subject, part("txt"), part("html"), sms)

    def _spoken(self, template: str, language: str | None) -> str:
        wanted = language if language and LANGUAGE.fullmatch(language) else self._default_language
        for candidate in (wanted, wanted.partition("-")[0], self._default_language):
            try:
                self._environment.get_template(f"{candidate}/{template}.subject.jinja")
            except TemplateNotFound:
                continue
            return candidate
        return "en"


def facts_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """What `begin_message` answers as templates read it: times are the resource's own."""
    booking = body["booking"]
    if booking is not None:
        zone = ZoneInfo(body["resource"]["timezone"])
        times = {name: _local(booking[name], zone) for name in TIMES}
        booking = booking | times | {"booking_id": booking["id"]}
    return {
        "customer": {"name": body["customer"]["name"]},
        "resource": body["resource"],
        "booking": booking,
        "prebooking": body["prebooking"],
    }


def _local(time: str | None, zone: ZoneInfo) -> datetime | None:
    return datetime.fromisoformat(time).astimezone(zone) if time else None
