"""What a customer does on the site: sign in, fill in, click once, read."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from playwright.async_api import Error, Locator, Page, Route

from app.adapters.adapter import Answer, Fire
from app.adapters.browser.chromium import Stopped, within
from app.adapters.browser.settings import BookRule, BrowserSettings, LoginRule, LookupRule
from app.adapters.templates import Unfit, Values, fill_path, fill_text

POLL_SECONDS = 0.02
CONFIRMATION_MILLISECONDS = 1000
MAX_CONFIRMATION = 200
NOT_READY = "the booking form did not get ready"

Rule = TypeVar("Rule", LoginRule, BookRule, LookupRule)


class Visit:
    """One page on the site. Methods raise Stopped where the visit ends early, Unfit where a value does not fit."""

    def __init__(self, page: Page, settings: BrowserSettings, values: Values) -> None:
        self._page = page
        self._settings = settings
        self._values = values
        self._arrived = asyncio.Event()
        self._broken = asyncio.Event()

    async def log_in(self) -> None:
        """Sign in; raises Stopped with what the site says if it does not let the customer in."""
        login = self._settings.login
        try:
            fields = self._texts(login.fields)
        except Unfit as missing:
            raise Stopped("bad_credentials", str(missing)) from None
        async with within(self._settings.page_seconds, "unavailable", "the login form did not get ready"):
            await self._page.goto(login.path, wait_until="domcontentloaded")
            await self._fill_in(fields)
            shown = await self._shown(login.rules)
        async with within(self._settings.outcome_seconds, "unavailable", "what came of the login was not understood"):
            self._watch()
            await self._page.locator(login.submit).click()
            rule, _ = await self._first(login.rules, shown)
        if rule.finding != "valid":
            raise Stopped(rule.finding, "the site said so after the login")

    async def book(self, key: str, fire: Fire) -> Answer:
        """Fill in the form, await `fire()`, click once, and say what the site shows then."""
        book, seconds = self._settings.book, self._settings.page_seconds
        path, fields = fill_path(book.path, self._values), self._texts(book.fields)
        shown: list[BookRule] = []
        async with within(seconds, "unavailable", NOT_READY):
            await self._page.goto(path, wait_until="domcontentloaded")
            if not book.reload_at_instant:
                shown = await self._prepare(fields, key)
        await fire()
        if book.reload_at_instant:
            async with within(seconds, "unavailable", NOT_READY):
                await self._page.reload(wait_until="domcontentloaded")
                shown = await self._prepare(fields, key)
        async with within(self._settings.outcome_seconds, "unknown", "no outcome was seen after the click"):
            self._watch()
            await self._page.locator(book.submit).click(force=True)
            rule, _ = await self._first(book.rules, shown)
        return await self._answer(rule, self._page.locator("html"), book.confirmation)

    async def look_up(self) -> Answer:
        """What the page of bookings shows, once it has come to rest: half a list is no proof of absence."""
        lookup = self._settings.lookup
        if lookup is None:
            return Answer("unknown", detail="the provider's settings name no page to look up")
        async with within(self._settings.page_seconds, "unknown", "the page of bookings was not understood"):
            await self._page.goto(fill_path(lookup.path, self._values), wait_until="networkidle")
            rule, found = await self._first(lookup.rules, [])
        return await self._answer(rule, found, lookup.confirmation)

    async def _prepare(self, fields: Mapping[str, str], key: str) -> list[BookRule]:
        """Leave nothing to do but the click. Returns the rules that hold of the form itself, and so tell nothing."""
        book = self._settings.book
        submit = self._page.locator(book.submit)
        while not await submit.is_visible():
            for rule in await self._shown(book.rules):
                if rule.finding not in {"booked", "unknown"}:
                    raise Stopped(rule.finding, "the site said so in place of the form")
            await asyncio.sleep(POLL_SECONDS)
        await self._fill_in(fields)
        if book.idempotency_field:
            await self._page.locator(book.idempotency_field).evaluate("(field, key) => { field.value = key }", key)
        await submit.click(trial=True)
        await self._page.route("**/*", self._send_once)
        return await self._shown(book.rules)

    def _texts(self, templates: Mapping[str, str]) -> dict[str, str]:
        return {selector: fill_text(template, self._values) for selector, template in templates.items()}

    async def _fill_in(self, fields: Mapping[str, str]) -> None:
        for selector, value in fields.items():
            field = self._page.locator(selector)
            if await field.evaluate("field => field.tagName") == "SELECT":
                await field.select_option(value)
            else:
                await field.fill(value)

    async def _send_once(self, route: Route) -> None:
        """Send the form over the driver's connection: Chromium sends a POST again if a used connection breaks."""
        request = route.request
        sends = request.is_navigation_request() or request.method not in {"GET", "HEAD"}
        passes = request.url.startswith(f"{self._settings.base_url}/")
        try:
            if passes and sends:
                milliseconds = self._settings.outcome_seconds * 1000
                await route.fulfill(response=await route.fetch(max_redirects=0, timeout=milliseconds))
            elif passes:
                await route.continue_()
        except Error:
            passes = False
        if not passes:
            with suppress(Error):
                await route.abort()
                if request.is_navigation_request() and request.frame.parent_frame is None:
                    self._broken.set()

    def _watch(self) -> None:
        self._arrived.clear()
        self._page.once("domcontentloaded", lambda _: self._arrived.set())

    async def _first(self, rules: Sequence[Rule], shown: Sequence[Rule]) -> tuple[Rule, Locator]:
        """The first rule that holds, and what it found. What was `shown` before the click counts on a new page only."""
        while not self._broken.is_set():
            # while one page gives way to the next there is nothing to ask
            with suppress(Error):
                await self._page.wait_for_load_state("domcontentloaded")
                for rule in rules:
                    if (self._arrived.is_set() or rule not in shown) and await self._sign(rule).is_visible():
                        return rule, self._sign(rule)
            await asyncio.sleep(POLL_SECONDS)
        raise Stopped("unknown", "the site's answer to the click was lost, or led to another host")

    async def _shown(self, rules: Sequence[Rule]) -> list[Rule]:
        return [rule for rule in rules if await self._sign(rule).is_visible()]

    def _sign(self, rule: LoginRule | BookRule | LookupRule) -> Locator:
        words = _words(fill_text(rule.text, self._values)) if rule.text else None
        if rule.selector:
            found = self._page.locator(rule.selector).filter(has_text=words)
        else:
            found = self._page.get_by_text(words or "")
        return found.filter(visible=True).first

    async def _answer(self, rule: BookRule | LookupRule, scope: Locator, selector: str | None) -> Answer:
        if rule.finding != "booked" or selector is None:
            return Answer(rule.finding)
        # it is booked, whether or not a number can be read
        with suppress(Error):
            text = await scope.locator(selector).first.inner_text(timeout=CONFIRMATION_MILLISECONDS)
            return Answer("booked", confirmation=" ".join(text.split())[:MAX_CONFIRMATION] or None)
        return Answer("booked", detail="no confirmation was found")


def _words(text: str) -> re.Pattern[str]:
    # whole words, or class 1 would pass for class 12
    words = r"\s+".join(map(re.escape, text.split()))
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)
