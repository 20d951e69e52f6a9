"""/docs in a real browser, under the policy that it is served with."""

import pytest
from playwright.async_api import ConsoleMessage, async_playwright

from tests.browser.conftest import CHROMIUM
from tests.live import live_server
