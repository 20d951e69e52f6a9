"""A site, and adapters that book there."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from app.adapters.adapter import Credentials, Order
from app.adapters.browser import BrowserAdapter
from tests.browser.site import USER, Site, serve

CANARY = "canary-4711-&<é"
CREDENTIALS = Credentials({"user": USER, "password": CANARY})
ORDER = Order({"class": "Yoga 1", "day": "Tuesday"}, "key-1", {"name": "Mia Sander"})

MakeAdapter = Callable[..., BrowserAdapter]


def settings_for(url: str, **book: Any) -> dict[str, Any]:
    """What an admin would write for the site; keywords change its part on booking."""
    return {
        "base_url": url,
        "login": {
            "path": "/login",
            "fields": {"input[name=user]": "{credentials.user}", "input[name=password]": "{credentials.password}"},
            "submit": "button",
            "rules": [
                {"finding": "bad_credentials", "selector": ".error"},
                {"finding": "valid", "text": "welcome back"},
            ],
        },
        "book": {
            "path": "/classes/{target.class}",
            "fields": {"#book select[name=day]": "{target.day}", "#book input[name=name]": "{customer.name}"},
            "submit": "#book button",
            "rules": [
                {"finding": "booked", "selector": "h1", "text": "you are booked"},
                {"finding": "full", "text": "full"},
                {"finding": "not_open_yet", "text": "not open yet"},
                {"finding": "refused", "text": "the form has expired"},
            ],
            "confirmation": "#number",
        }
        | book,
        "lookup": {
            "path": "/mine",
            "rules": [
                {"finding": "booked", "selector": "tr", "text": "{target.class}"},
                {"finding": "absent", "selector": ".end"},
            ],
            "confirmation": ".number",
        },
        "page_seconds": 30.0,
        "outcome_seconds": 30.0,
    }


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """The site, open, with five places."""
    site = Site(CANARY)
    async with serve(site) as site.url:
        yield site


@pytest.fixture
async def adapter_for() -> AsyncIterator[MakeAdapter]:
    """Make adapters from settings; they are closed with the test."""
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium on PATH; on Debian: apt install chromium")
    async with AsyncExitStack() as stack:

        def make(settings: dict[str, Any]) -> BrowserAdapter:
            adapter = BrowserAdapter.of(settings)
            stack.push_async_callback(adapter.close)
            return adapter

        yield make


@pytest.fixture
def browsers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[int]]]:
    """The processes of the test's own Chromiums that are alive, known by the folder that is their home."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def alive() -> list[int]:
        found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
        return [pid for pid in found if f"HOME={tmp_path}".encode() in read(pid, "environ")]

    yield alive
    assert list(tmp_path.glob("holdfast-chromium-*")) == []


def drivers() -> list[int]:
    """Playwright's drivers that this process has started and not ended."""
    children = (int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
    return [pid for pid in children if b"playwright" in read(pid, "cmdline")]


def read(pid: int, name: str) -> bytes:
    """What the system says of a process; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
