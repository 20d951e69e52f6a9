"""Providers that have only a web form: a headless Chromium signs in, fills in and clicks, as a person would."""

from app.adapters.browser.adapter import BrowserAdapter

__all__ = ["BrowserAdapter"]
