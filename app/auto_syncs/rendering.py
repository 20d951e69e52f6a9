"""The page behind a personal link: one file, no script, nothing from elsewhere."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from app.localised import Localised, with_local_times

OURS = Path(__file__).parent / "templates"
NAME = "respond.html"
State = Literal["asked", "recorded", "no_time", "unknown", "over", "busy"]
_STYLE = re.search(r"<style>(.*?)</style>", (OURS / f"{NAME}.jinja").read_text(), re.DOTALL)
_STYLE_HASH = base64.b64encode(hashlib.sha256((_STYLE[1] if _STYLE else "").encode()).digest()).decode()
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    # the address is the key
    "X-Robots-Tag": "noindex, nofollow",
}


class Given(NamedTuple):
    """What the form says, or what was answered before."""

    answer: str | None
    times: Sequence[str]


class Pages:
    """The pages in the languages that there are; their templates are read once: see `pages_in`."""

    def __init__(self, default_language: str) -> None:
        self._files = Localised([OURS], default_language)

    def render(self, state: State, invitation: Mapping[str, Any] | None = None, given: Given | None = None) -> str:
        """The page in the reader's language, its times by the reader's clocks."""
        spoken = self._files.spoken("_respond", invitation["language"] if invitation else None)
        facts = with_local_times(invitation, ZoneInfo(invitation["timezone"])) if invitation else None
        return self._files.render(NAME, {"spoken": spoken, "state": state, "auto_sync": facts, "given": given})


@lru_cache(maxsize=1)
def pages_in(default_language: str) -> Pages:
    """The pages, for readers whose language is not known or not there in that one."""
    return Pages(default_language)
