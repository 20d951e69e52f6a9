"""Settings of `http_json`: what is wrong is said when they are stored, in words, and without what they hold."""

import re
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.http_json import HttpJsonAdapter
from app.simulator.provider import settings_for

GOOD = settings_for("https://booking.example")


def changed(path: str, value: object) -> dict[str, Any]:
    """Good settings with another value at that path."""
    settings = deepcopy(GOOD)
    *parents, name = path.split(".")
    part: Any = settings
    for parent in parents:
        part = part[int(parent)] if parent.isdecimal() else part[parent]
    part[int(name) if name.isdecimal() else name] = value
    return settings


def test_the_simulators_settings_are_good() -> None:
    assert HttpJsonAdapter.of(GOOD).honours_idempotency_key


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8001", "http://[::1]/api", "http://localhost:1/", "https://x.example/a"]
)
def test_credentials_travel_over_https_or_within_this_machine(url: str) -> None:
    HttpJsonAdapter.of(changed("base_url", url))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("base_url", "http://booking.example", "base_url: Value error, credentials travel over https"),
        ("base_url", "http://10.0.0.1", "credentials travel over https"),
        ("base_url", "ftp://booking.example", "base_url"),
        ("base_url", "https://user:pass@booking.example", "must be a scheme, a host and perhaps a port and a path"),
        ("base_url", "https://booking.example/?a=1", "must be a scheme, a host"),
        ("base_url", "https://booking.example/#a", "must be a scheme, a host"),
        ("base_url", 7, "base_url"),
        ("unknown", 1, "unknown: Extra inputs are not permitted"),
        ("booking.follow_redirects", True, "booking.follow_redirects: Extra inputs"),
        ("booking.path", "bookings", "booking.path"),
        ("booking.path", "/a b", "booking.path"),
        ("booking.path", "/a\r\nX: y", "booking.path"),
        ("booking.path", "/{target.date", "a brace opens or closes a name"),
        ("booking.path", "/}", "a brace opens or closes a name"),
        ("booking.path", "/{}", "{} is not known here"),
        ("booking.path", "/{credentials.password}", "{credentials.password} is not known here"),
        ("booking.path", "/{token}", "{token} is not known here"),
        ("booking.body", {"a": [{"b": "{target.__class__.__name__}"}]}, "is not known here"),
        ("booking.body", {"a": "{target[date]}"}, "is not known here"),
        ("booking.body", {"a": "{target.date!r}"}, "is not known here"),
        ("booking.body", {"a": "{customer.password}"}, "is not known here"),
        ("booking.body", {"a": "{0}"}, "is not known here"),
        ("booking.body", {"a": "{{target.date}}"}, "a brace opens or closes a name"),
        ("booking.body", ["a"], "booking.body"),
        ("booking.headers", {"X-A": "{nobody}"}, "{nobody} is not known here"),
        ("booking.headers", {"X-A": "a\r\nX-B: b"}, "booking.headers"),
        ("booking.headers", {"X-A": " a"}, "booking.headers"),
        ("booking.headers", {"X A": "a"}, "booking.headers"),
        ("booking.headers", {"Host": "a"}, "Host is set by Holdfast"),
        ("booking.headers", {"content-length": "0"}, "content-length is set by Holdfast"),
        ("booking.idempotency_header", "Transfer-Encoding", "is set by Holdfast"),
        ("booking.method", "DELETE", "booking.method"),
        ("booking.rules", [], "booking.rules"),
        ("booking.rules", [{"finding": "booked"}], "a rule needs a status or a path"),
        ("booking.rules", [{"finding": "booked", "status": 201, "equals": 1}], "equals needs a path"),
        ("booking.rules.0.status", "201", "booking.rules.0.status"),
        ("booking.rules.0.status", 100, "booking.rules.0.status"),
        ("booking.rules.0.path", "a..b", "booking.rules.0.path"),
        ("booking.rules.0.finding", "absent", "booking.rules.0.finding"),
        ("lookup.rules.0.finding", "refused", "lookup.rules.0.finding"),
        ("login.rules.0.finding", "booked", "login.rules.0.finding"),
        ("login.body", {"a": "{target.date}"}, "{target.date} is not known here"),
        ("login.token", None, "{token} needs login.token"),
        ("session.headers", {"A": "{target.date}"}, "is not known here"),
        ("clock.path", "/{target.date}", "is not known here"),
        ("clock.unit", "seconds", "clock.unit"),
        ("clock.method", "POST", "clock.method"),
        ("limits", {"whole": 0.0}, "limits.whole"),
        ("limits", {"whole": 61.0}, "limits.whole"),
        ("limits", {"whole": float("nan")}, "limits.whole"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        HttpJsonAdapter.of(changed(path, value))


def test_what_is_wrong_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="limits") as refused:
        HttpJsonAdapter.of(changed("limits", {"s3cr3t": 1}) | {"booking": "s3cr3t-too"})

    assert "s3cr3t-too" not in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
PATHS = [
    "base_url",
    "booking",
    "booking.path",
    "booking.body",
    "booking.headers",
    "booking.rules",
    "booking.rules.0.path",
    "booking.rules.0.equals",
    "booking.idempotency_header",
    "login",
    "session.headers",
    "lookup.path",
    "clock.header",
    "limits",
]


@given(st.sampled_from(PATHS), JSON)
def test_any_settings_are_taken_or_refused_with_a_value_error(path: str, value: object) -> None:
    try:
        said = repr(HttpJsonAdapter.of(changed(path, value)))
    except ValueError as refusal:
        said = str(refusal)

    assert said


@given(st.dictionaries(st.text(), JSON))
def test_settings_from_nowhere_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="base_url"):
        HttpJsonAdapter.of(settings)
