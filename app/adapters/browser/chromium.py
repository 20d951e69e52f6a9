"""One headless Chromium of our own: started when a page is first wanted, ended with all its processes and files."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from playwright.async_api import Browser, Error, Page, Playwright, async_playwright

from app.adapters.adapter import Answer, Finding

START_SECONDS = 30
CLOSE_SECONDS = 5
INSTALL = "no Chromium was found; run `playwright install chromium`, or put `chromium` on PATH"


class Stopped(Exception):  # noqa: N818 - not an error: the visit ends early, with an answer
    """There is nothing left to do here, and this is the answer."""

    def __init__(self, finding: Finding, detail: str) -> None:
        super().__init__(detail)
        self.answer = Answer(finding, detail=detail)


@asynccontextmanager
async def within(seconds: float, finding: Finding, detail: str) -> AsyncIterator[None]:
    """Raise Stopped if it fails or takes longer. The browser's own words stay out: they quote what is typed."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (Error, OSError):
        raise Stopped(finding, detail) from None


class Chromium:
    """A browser that reaches one origin and no other host. `close` it, whatever has happened."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._running: asyncio.Task[tuple[Playwright, Browser]] | None = None
        self._home: tempfile.TemporaryDirectory[str] | None = None

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A page with no cookies, cache or history, before and after. Raises Stopped if there is no Chromium."""
        async with within(START_SECONDS, "unavailable", "Chromium did not start"):
            browser = await self._browser()
            context = await browser.new_context(
                base_url=self._origin, accept_downloads=False, service_workers="block", strict_selectors=True
            )
            page = await context.new_page()
        try:
            yield page
        finally:
            # what does not close goes with the browser
            with suppress(Error, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await context.close()

    async def close(self) -> None:
        """End the browser, its driver and its files; also what is only half started."""
        if self._running is not None:
            with suppress(Error, Stopped):
                playwright, _ = await self._running
                await playwright.stop()
        self._running = None
        if self._home is not None:
            self._home.cleanup()
        self._home = None

    async def _browser(self) -> Browser:
        if self._running is not None and self._running.done() and not await self._is_alive():
            await self.close()
        if self._running is None:
            self._home = tempfile.TemporaryDirectory(prefix="holdfast-chromium-", ignore_cleanup_errors=True)
            self._running = asyncio.create_task(_start(self._origin, self._home.name))
        # a caller that is cancelled leaves the start to `close`, which must know what there is to end
        _, browser = await asyncio.shield(self._running)
        return browser

    async def _is_alive(self) -> bool:
        if self._running is None or self._running.exception() is not None:
            return False
        _, browser = self._running.result()
        return browser.is_connected()


async def _start(origin: str, home: str) -> tuple[Playwright, Browser]:
    playwright = await async_playwright().start()
    try:
        # its own way to start leaves its files in the temporary folder after a crash; visits do not use this profile
        unused = await playwright.chromium.launch_persistent_context(
            Path(home, "profile"),
            artifacts_dir=Path(home, "artifacts"),
            executable_path=_find(playwright.chromium.executable_path),
            # Chromium refuses root with its sandbox on
            chromium_sandbox=os.geteuid() != 0,
            args=[f"--host-resolver-rules={_only(origin)}", "--no-proxy-server"],
            # nothing of our own environment, which holds keys
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": home},
        )
    except BaseException:
        await playwright.stop()
        raise
    return playwright, cast("Browser", unused.browser)


def _find(own: str) -> str:
    if found := own if Path(own).exists() else shutil.which("chromium"):
        return found
    raise Stopped("unavailable", INSTALL)


def _only(origin: str) -> str:
    # in the resolver, because route handlers do not see where a redirect leads
    url = urlsplit(origin)
    site = url.netloc if url.port else f"{url.netloc}:443"
    return f"MAP {site} {site}, MAP * ~NOTFOUND"
