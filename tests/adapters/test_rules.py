"""Rules: the first that fits says what an answer means."""

from typing import Any

import pytest

from app.adapters.adapter import Finding
from app.adapters.description import BookingRule
from app.adapters.reading import MAX_DETAIL, answer_of, finding_of, text_at, value_at
from app.adapters.wire import Response

URL = "https://booking.example/"
DOCUMENT = {"a": {"b": [{"c": 1}, {"c": "x"}], "yes": True, "none": None, "0": "zero"}, "zero": 0, "half": 0.5}


def response(status: int = 200, body: bytes = b"{}") -> Response:
    return Response(status, [], body, is_whole=True, sent_at=0, received_at=0)


def found(rule: dict[str, Any], status: int = 200, body: bytes = b"{}") -> Finding:
    return finding_of(response(status, body), [BookingRule(finding="full", **rule)], URL, "unknown")[0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b.0.c", 1),
        ("a.b.1.c", "x"),
        ("a.0", "zero"),
        ("a.b.2.c", None),
        ("a.b.c", None),
        ("a.b.0.c.d", None),
        ("zero", 0),
        ("__class__", None),
        ("a.b.99999999999999999999", None),
    ],
)
def test_a_path_leads_to_its_value(path: str, value: object) -> None:
    assert value_at(DOCUMENT, path) == value


@pytest.mark.parametrize(
    ("path", "text"), [("zero", "0"), ("a.b.1.c", "x"), ("a.yes", None), ("half", None), ("a", None)]
)
def test_only_texts_and_whole_numbers_are_words(path: str, text: str | None) -> None:
    assert text_at(DOCUMENT, path) == text


@pytest.mark.parametrize(
    ("rule", "body", "fits"),
    [
        ({"path": "a"}, b'{"a": 0}', True),
        ({"path": "a"}, b'{"a": false}', True),
        ({"path": "a"}, b'{"a": null}', False),
        ({"path": "a"}, b"{}", False),
        ({"path": "a"}, b"[]", False),
        ({"path": "a"}, b"<p>", False),
        ({"path": "a", "equals": None}, b'{"a": null}', True),
        ({"path": "a", "equals": None}, b"{}", False),
        ({"path": "a", "equals": 1}, b'{"a": 1}', True),
        ({"path": "a", "equals": 1}, b'{"a": 1.0}', True),
        ({"path": "a", "equals": 1}, b'{"a": true}', False),
        ({"path": "a", "equals": True}, b'{"a": 1}', False),
        ({"path": "a", "equals": True}, b'{"a": true}', True),
        ({"path": "a", "equals": "1"}, b'{"a": 1}', False),
        ({"path": "a", "equals": "x"}, b'{"a": ["x"]}', False),
        ({"path": "0.a", "equals": "x"}, b'[{"a": "x"}]', True),
        ({"status": 200}, b"<p>", True),
        ({"status": 409}, b"{}", False),
        ({"status": 409, "path": "a"}, b'{"a": 1}', False),
    ],
)
def test_a_rule_fits_what_it_says(rule: dict[str, Any], body: bytes, fits: bool) -> None:
    assert found(rule, body=body) == ("full" if fits else "unknown")


def test_the_first_rule_that_fits_decides_even_over_http_itself() -> None:
    rules = [BookingRule(finding="full", status=429, path="full"), BookingRule(finding="unavailable", status=429)]

    findings = [finding_of(response(429, body), rules, URL, "unknown")[0] for body in (b'{"full": 1}', b"{}")]

    assert findings == ["full", "unavailable"]
    assert finding_of(response(429), [], URL, "unknown")[0] == "rate_limited"


@pytest.mark.parametrize(
    ("location", "finding"),
    [
        ("https://elsewhere.example/", "refused"),
        ("//elsewhere.example/", "refused"),
        ("http://booking.example/", "refused"),
        ("https://booking.example:444/", "refused"),
        ("https://booking.example@elsewhere.example/", "refused"),
        ("https://[", "refused"),
        ("/login", "unknown"),
        ("https://booking.example/x", "unknown"),
    ],
)
def test_another_host_is_known_as_such(location: str, finding: Finding) -> None:
    redirect = Response(302, [("location", location)], b"", is_whole=True, sent_at=0, received_at=0)

    assert finding_of(redirect, [], URL, "unknown")[0] == finding


def test_a_detail_is_short_printable_and_holds_no_secret() -> None:
    answer = answer_of("full", "for hunter2 and a%2Fb:\r\n\x1b[31m" + "x" * 300, ["hunter2", "a/b", ""])

    assert answer.detail.startswith("for *** and ***:???[31mxxx")
    assert len(answer.detail) == MAX_DETAIL


def test_a_secret_is_hidden_before_the_detail_is_cut() -> None:
    assert "hunt" not in answer_of("full", "x" * (MAX_DETAIL - 4) + "hunter2", ["hunter2"]).detail


def test_of_two_secrets_the_one_inside_the_other_leaves_no_rest() -> None:
    assert answer_of("full", "hunter2hunter", ["hunter", "hunter2hunter"]).detail == "***"


def test_a_confirmation_may_hold_a_short_credential_by_chance_and_never_a_long_one() -> None:
    answer = answer_of("booked", "", ["17", "correct horse"], confirmation="C-0017-correct horse")

    assert answer.confirmation == "C-0017-***"
