"""The adapter: one visit for each thing that is asked of it, in a browser that is its own."""

import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

import httpx2

from app.adapters.adapter import Answer, Clock, Credentials, Finding, Fire, Order
from app.adapters.browser.settings import BrowserSettings
from app.adapters.templates import Unfit, secrets_of, values_of

if TYPE_CHECKING:
    from app.adapters.browser.chromium import Chromium
    from app.adapters.browser.visit import Visit

CLOCK_SECONDS = 5
INSTALL = "Playwright is not installed; run `pip install holdfast[browser]`"


class BrowserAdapter:
    """Books at a site that has only a web form. Without the extra `browser` or a Chromium it answers `unavailable`."""

    def __init__(self, settings: BrowserSettings) -> None:
        self.honours_idempotency_key = settings.book.idempotency_field is not None
        self._settings = settings
        self._chromium: Chromium | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The adapter for a provider of these settings. Raises ValueError, in an admin's words, if they are wrong."""
        return cls(BrowserSettings.of(settings))

    async def clock(self) -> Clock | None:
        """The site's clock against ours to a second, from its `Date` header; None if it shows none."""
        try:
            async with httpx2.AsyncClient(timeout=CLOCK_SECONDS) as client:
                sent = time.time()
                answer = await client.head(self._settings.base_url)
                received = time.time()
            shown = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except (httpx2.HTTPError, KeyError, ValueError):
            return None
        # the header leaves out what has passed of its second
        return Clock(low=shown - received, high=shown + 1 - sent)

    async def check_credentials(self, credentials: Credentials) -> Answer:
        """Whether the login form lets the customer in."""

        async def nothing_more(_: "Visit") -> Answer:
            return Answer("valid")

        return await self._visit(None, credentials, nothing_more, missing="unavailable")

    async def book(self, order: Order, credentials: Credentials, fire: Fire) -> Answer:
        """Sign in and fill in the form, await `fire()`, click once, and say what the site shows then."""
        return await self._visit(
            order, credentials, lambda visit: visit.book(order.idempotency_key, fire), missing="refused"
        )

    async def lookup(self, order: Order, credentials: Credentials) -> Answer:
        """What the customer's page of bookings says of the order; unknown without such a page."""
        return await self._visit(order, credentials, lambda visit: visit.look_up(), missing="unknown")

    async def close(self) -> None:
        """End the browser. Nothing of it is left, processes or files."""
        if self._chromium is not None:
            await self._chromium.close()

    async def _visit(
        self,
        order: Order | None,
        credentials: Credentials,
        errand: Callable[["Visit"], Awaitable[Answer]],
        *,
        missing: Finding,
    ) -> Answer:
        """Log in and run the errand on a fresh page; `missing` is the finding if the order lacks a value."""
        try:
            # the extra may be missing, and settings are to be checked without it
            from app.adapters.browser.chromium import Chromium, Stopped  # noqa: PLC0415
            from app.adapters.browser.visit import Visit  # noqa: PLC0415
        except ModuleNotFoundError:
            return Answer("unavailable", detail=INSTALL)
        self._chromium = self._chromium or Chromium(self._settings.base_url)
        try:
            async with self._chromium.page() as page:
                visit = Visit(page, self._settings, {**(values_of(order) if order else {}), **secrets_of(credentials)})
                await visit.log_in()
                return await errand(visit)
        except Stopped as stopped:
            return stopped.answer
        except Unfit as lack:
            return Answer(missing, detail=str(lack))
