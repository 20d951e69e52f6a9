"""Messages from templates in files: a folder a language, a file a part."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from app.localised import Localised, local, with_local_times

OURS = Path(__file__).parent / "templates"
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

    They are read once: see `templates_of`.
    """

    def __init__(self, folder: Path | None, default_language: str) -> None:
        self._files = Localised([path for path in (folder, OURS) if path], default_language)

    def render(self, template: str, language: str | None, facts: Mapping[str, Any]) -> Rendered:
        """The message in the customer's language, else in the default one, else in English.

        Raises jinja2.TemplateError for a template that is not one, or names what there is not.
        """
        spoken = self._files.spoken(f"{template}.subject", language)

        def part(name: str) -> str:
            return self._files.render(f"{spoken}/{template}.{name}", facts)

        # a header, and a text message, are one line each
        subject, sms = (" ".join(part(name).split()) for name in ("subject", "sms"))
        return Rendered(spoken, subject, part("txt"), part("html"), sms)


@lru_cache(maxsize=1)
def templates_of(folder: Path | None, default_language: str) -> Templates:
    """The templates, for customers whose language is not known or not there in that one."""
    return Templates(folder, default_language)


def facts_of(body: Mapping[str, Any], link: str | None = None) -> dict[str, Any]:
    """What `begin_message` answers as templates read it: times are the resource's own, or an auto-sync's reader's.

    `link` is where whoever is asked answers.
    """
    booking = body["booking"]
    if booking is not None:
        zone = ZoneInfo(body["resource"]["timezone"])
        times = {name: local(booking[name], zone) for name in TIMES}
        booking = booking | times | {"booking_id": booking["id"]}
    auto_sync = body["auto_sync"]
    if auto_sync is not None:
        auto_sync = with_local_times(auto_sync, ZoneInfo(body["customer"]["timezone"])) | {"link": link}
    return {
        "customer": {"name": body["customer"]["name"]},
        "resource": body["resource"],
        "booking": booking,
        "prebooking": body["prebooking"],
        "auto_sync": auto_sync,
    }
