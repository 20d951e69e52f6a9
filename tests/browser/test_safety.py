"""What never happens: secrets elsewhere, other hosts, a browser that outlives its adapter."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable

import pytest

from app.adapters.browser import BrowserAdapter
from tests.browser.conftest import CANARY, CREDENTIALS, ORDER, MakeAdapter, drivers, read, settings_for
from tests.browser.site import Site, serve

Browsers = Callable[[], list[int]]


async def at_once() -> None:
    """An instant that has come."""


async def gone(browsers: Browsers) -> bool:
    """Whether all have ended; the system takes a moment after the last."""
    for _ in range(100):
        if not browsers() and not drivers():
            return True
        await asyncio.sleep(0.05)
    return False


async def test_scripts_of_other_hosts_are_not_loaded(site: Site, adapter_for: MakeAdapter) -> None:
    async with serve(other := Site("")) as url:
        there = url.replace("127.0.0.1", "localhost")
        site.form_extra = (
            f"<script src='{there}/a.js'></script><img src='{there}/a.png'><iframe src='{there}/'></iframe>"
        )
        answer = await adapter_for(settings_for(site.url)).book(ORDER, CREDENTIALS, at_once)

    assert answer.finding == "booked"
    assert other.requests == {}


async def test_a_form_that_is_redirected_elsewhere_stays(site: Site, adapter_for: MakeAdapter) -> None:
    async with serve(other := Site("")) as site.outside:
        site.after_submit = "leave"
        settings = settings_for(site.url) | {"outcome_seconds": 4.0}
        answer = await adapter_for(settings).book(ORDER, CREDENTIALS, at_once)

    assert answer.finding == "unknown"
    assert len(site.submissions) == 1
    assert other.requests == {}


async def test_a_form_that_leads_elsewhere_is_not_sent(site: Site, adapter_for: MakeAdapter) -> None:
    async with serve(other := Site("")) as url:
        site.form_extra = (
            f"<script>addEventListener('load', () => {{ document.forms.book.action = '{url}/book' }})</script>"
        )
        answer = await adapter_for(settings_for(site.url)).book(ORDER, CREDENTIALS, at_once)

    assert answer.finding == "unknown"
    assert site.submissions == []
    assert other.requests == {}


async def test_a_question_in_a_dialog_is_answered_with_no(site: Site, adapter_for: MakeAdapter) -> None:
    site.form_extra = (
        "<script>addEventListener('load', () => { document.forms.book.onsubmit = () => confirm('Sure?') })</script>"
    )
    settings = settings_for(site.url) | {"outcome_seconds": 4.0}

    assert (await adapter_for(settings).book(ORDER, CREDENTIALS, at_once)).finding == "unknown"
    assert site.submissions == []


async def test_the_password_is_nowhere_but_in_the_form(
    site: Site, adapter_for: MakeAdapter, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = settings_for(site.url)
    broken = settings_for(site.url) | {"page_seconds": 1.0}
    broken["login"] = broken["login"] | {"fields": {"#nowhere": "{credentials.password}"}}

    answers = [
        await adapter_for(settings).book(ORDER, CREDENTIALS, at_once),
        await adapter_for(broken).book(ORDER, CREDENTIALS, at_once),
    ]

    assert [answer.finding for answer in answers] == ["booked", "unavailable"]
    printed = capfd.readouterr()
    assert CANARY not in f"{answers} {CREDENTIALS!r} {caplog.text} {printed.out} {printed.err}"


async def test_no_process_is_told_the_password_or_our_environment(
    site: Site, adapter_for: MakeAdapter, browsers: Browsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCRYPTION_KEYS", "not-for-browsers")
    told: list[bytes] = []

    async def fire() -> None:
        told.extend(read(pid, name) for pid in browsers() for name in ("cmdline", "environ"))

    adapter = adapter_for(settings_for(site.url))
    await adapter.book(ORDER, CREDENTIALS, fire)
    await adapter.close()

    assert told
    assert not [text for text in told if CANARY.encode() in text or b"not-for-browsers" in text]


async def test_closing_ends_the_browser_and_its_files(site: Site, adapter_for: MakeAdapter, browsers: Browsers) -> None:
    adapter = adapter_for(settings_for(site.url))
    await adapter.check_credentials(CREDENTIALS)
    running = browsers()
    await adapter.close()

    assert running
    assert await gone(browsers)


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0])
async def test_cancelling_at_any_time_leaves_no_browser(
    site: Site, browsers: Browsers, adapter_for: MakeAdapter, delay: float
) -> None:
    site.after_submit = "hang"
    adapter = adapter_for(settings_for(site.url))
    booking = asyncio.create_task(adapter.book(ORDER, CREDENTIALS, at_once))
    await asyncio.wait([booking], timeout=delay)
    booking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await booking
    await adapter.close()

    assert booking.cancelled()
    assert await gone(browsers)


async def test_a_browser_that_crashes_before_the_instant_is_unavailable(
    site: Site, adapter_for: MakeAdapter, browsers: Browsers
) -> None:
    adapter = adapter_for(settings_for(site.url, submit="#never"))
    booking = asyncio.create_task(adapter.book(ORDER, CREDENTIALS, at_once))
    await site.form_shown.wait()
    crash(browsers())
    answer = await booking
    await adapter.close()

    assert answer.finding == "unavailable"
    assert await gone(browsers)


async def test_a_browser_that_crashes_after_the_click_is_unknown_and_another_looks_it_up(
    site: Site, adapter_for: MakeAdapter, browsers: Browsers
) -> None:
    site.after_submit = "hang"
    adapter = adapter_for(settings_for(site.url))
    booking = asyncio.create_task(adapter.book(ORDER, CREDENTIALS, at_once))
    await site.submitted.wait()
    crash(browsers())
    answer = await booking
    looked_up = await adapter.lookup(ORDER, CREDENTIALS)
    await adapter.close()

    assert (answer.finding, looked_up.finding) == ("unknown", "absent")
    assert await gone(browsers)


async def test_without_a_chromium_the_answer_says_what_to_install(
    site: Site, adapter_for: MakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", "/nowhere")

    answer = await adapter_for(settings_for(site.url)).check_credentials(CREDENTIALS)

    assert answer.finding == "unavailable"
    assert "playwright install chromium" in answer.detail


async def test_without_playwright_the_answer_says_what_to_install(
    site: Site, adapter_for: MakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("app.adapters.browser.chromium", "app.adapters.browser.visit"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "playwright.async_api", None)

    answer = await adapter_for(settings_for(site.url)).check_credentials(CREDENTIALS)

    assert answer.finding == "unavailable"
    assert "holdfast[browser]" in answer.detail


async def test_closing_what_was_never_used_does_nothing(browsers: Browsers) -> None:
    await BrowserAdapter.of(settings_for("https://studio.example")).close()

    assert browsers() == []


def crash(pids: list[int]) -> None:
    """End them as the system would for want of memory."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
