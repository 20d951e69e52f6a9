"""/docs in a real browser, under the policy that it is served with."""

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect

from app.adapters.browser.chromium import Chromium
from app.main import create_app
from tests.browser.site import serve
from tests.conftest import settings_for

PATIENCE_MS = 30_000


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a browser that reaches nothing but the application, which needs no database for its docs."""
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium on PATH; on Debian: apt install chromium")
    async with serve(create_app(settings_for("postgresql:///nowhere"))) as url:
        browser = Chromium(url)
        try:
            async with browser.page() as page:
                yield page
        finally:
            await browser.close()


async def test_the_docs_work_under_the_policy_that_they_are_served_with(page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))

    await page.goto("/docs")
    operation = page.locator("#operations-operations-healthz")
    await operation.get_by_role("button").first.click(timeout=PATIENCE_MS)
    await operation.get_by_role("button", name="Try it out").click()
    await operation.get_by_role("button", name="Execute").click()

    await expect(operation.locator(".live-responses-table .response-col_status").nth(1)).to_contain_text(
        "200", timeout=PATIENCE_MS
    )
    assert said == []
