"""What an admin may say of a provider with a web form, and what is told to one who errs."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.adapters.browser import BrowserAdapter
from tests.browser.conftest import settings_for

GOOD = settings_for("https://studio.example")


@pytest.mark.parametrize(
    "url", ["https://studio.example", "https://studio.example:8443/", "http://127.0.0.1:8000", "http://localhost"]
)
def test_a_site_over_https_or_on_this_machine_is_taken(url: str) -> None:
    BrowserAdapter.of(GOOD | {"base_url": url})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_url": "http://studio.example"}, "base_url: .*https"),
        ({"base_url": "file:///etc/passwd"}, "base_url"),
        ({"base_url": "https://mia:secret@studio.example"}, "base_url: .*only scheme, host and port"),
        ({"base_url": "https://studio.example/app"}, "base_url: .*only scheme, host and port"),
        ({"base_url": "https://*"}, "base_url: "),
        ({"executable": "/bin/sh"}, "executable: Extra"),
        ({"page_seconds": 0}, "page_seconds: .*greater"),
        ({"page_seconds": "10"}, "page_seconds: .*number"),
        ({"book": GOOD["book"] | {"path": "//elsewhere.example/"}}, r"book\.path: .*one slash"),
        ({"book": GOOD["book"] | {"path": "/{credentials.password}"}}, r"book\.path: .*\{credentials.password\}"),
        ({"book": GOOD["book"] | {"path": "/{target.__class__.__name__}"}}, r"book\.path: .*is not known"),
        ({"book": GOOD["book"] | {"fields": {"#a": "{credentials.password}"}}}, r"book\.fields.*not known here"),
        ({"book": GOOD["book"] | {"fields": {"#a": "{target.day"}}}, r"book\.fields.*a brace"),
        ({"book": GOOD["book"] | {"rules": []}}, r"book\.rules"),
        ({"book": GOOD["book"] | {"rules": [{"finding": "booked"}]}}, r"book\.rules\.0: .*selector, a text"),
        ({"book": GOOD["book"] | {"rules": [{"finding": "absent", "text": "x"}]}}, r"book\.rules\.0\.finding"),
        ({"login": GOOD["login"] | {"path": "/{target.day}"}}, r"login\.path: .*no names"),
        ({"login": GOOD["login"] | {"fields": {"#a": "{target.day}"}}}, r"login\.fields"),
    ],
)
def test_wrong_settings_are_refused_by_their_place(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BrowserAdapter.of(GOOD | changes)


def test_a_message_does_not_repeat_what_was_given() -> None:
    with pytest.raises(ValueError, match="base_url") as refused:
        BrowserAdapter.of(GOOD | {"base_url": "https://mia:secret@studio.example"})

    assert "secret" not in str(refused.value)


def test_a_key_is_honoured_only_where_a_field_takes_it() -> None:
    assert not BrowserAdapter.of(GOOD).honours_idempotency_key
    assert BrowserAdapter.of(settings_for("https://studio.example", idempotency_field="#key")).honours_idempotency_key


def test_the_example_in_the_docs_is_taken() -> None:
    text = (
        Path(__file__)
        .parents[2]
        .joinpath("docs/browser-providers.md")
        .read_text()
        .split("## How to describe a site")[1]
    )
    example = text[text.index("    {") : text.index("\n    }") + 6]

    BrowserAdapter.of(json.loads(example))
