"""Stripe's webhook format: which signatures are good, and what an event means for which booking."""

import hashlib
import hmac
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.payments.schemas import StripeEvent
from app.payments.stripe import TOLERANCE_SECONDS, booking_of, is_signed, payment_status_of

SECRET = "whsec_a-secret-for-tests-only"  # noqa: S105
NOW = 1893456000
BODY = b'{"id":"evt_1","type":"checkout.session.completed"}'
# openssl dgst -sha256 -hmac "$SECRET", of "$NOW.$BODY"
SIGNATURE = "9a04d62618c1fdcce64d34752901a1f90fe2b3d21b4837966b5824f17187aba3"
HEADER = f"t={NOW},v1={SIGNATURE}"
OTHER = "0" * 64

BOOKING = UUID("0b7c1f0e-5e0e-4b43-9c39-5a1f3f1b6a52")
ANOTHER = UUID("6a9a3f0c-34a4-4f3b-8c8f-0d9f1c5f6b11")


def signature(body: bytes, secret: str = SECRET, timestamp: object = NOW) -> str:
    """The `v1` of that body at that time."""
    return hmac.digest(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hex()


def event(event_type: str = "checkout.session.completed", /, **members: Any) -> StripeEvent:
    """An event of that type about an object with these members."""
    return StripeEvent.model_validate({"id": "evt_1", "type": event_type, "data": {"object": members}})


def is_good(header: str, body: bytes = BODY, secret: str = SECRET, now: float = NOW) -> bool:
    # time.time() is a float, and not every whole number fits into one
    return is_signed(header, body, secret, float(now))


def test_a_signature_that_another_program_made_is_good() -> None:
    assert is_good(HEADER)
    assert signature(BODY) == SIGNATURE


@pytest.mark.parametrize(
    "header",
    [
        f"t={NOW}, v1={SIGNATURE}",
        f"v1={SIGNATURE},t={NOW}",
        f"t={NOW},v1={SIGNATURE},v1={OTHER}",
        f"t={NOW},v1={OTHER},v1={SIGNATURE}",
        f"t={NOW},v1=,v1={OTHER[:5]},v1={SIGNATURE}",
        f"t={NOW},v0={OTHER},v1={SIGNATURE}",
        f"t={NOW},v1={SIGNATURE},v2={OTHER},new",
    ],
)
def test_one_good_v1_among_others_is_enough(header: str) -> None:
    assert is_good(header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "=",
        "garbage",
        SIGNATURE,
        f"v1={SIGNATURE}",
        f"t=,v1={SIGNATURE}",
        f"t={NOW}",
        f"t={NOW},v1=",
        f"t={NOW},v1",
        f"t={NOW},v1={OTHER}",
        f"t={NOW},v1={SIGNATURE[:-1]}",
        f"t={NOW},v1={SIGNATURE}0",
        f"t={NOW},v0={SIGNATURE}",
        f"t={NOW},v11={SIGNATURE}",
        f"t={NOW},V1={SIGNATURE}",
        f"T={NOW},v1={SIGNATURE}",
        f"t={NOW};v1={SIGNATURE}",
        f"t={NOW},t={NOW},v1={SIGNATURE}",
        f"t={NOW},t={NOW + 1},v1={SIGNATURE}",
        f"t=0{NOW},v1={SIGNATURE}",
        f"t={NOW}.0,v1={SIGNATURE}",
        f"t=+{NOW},v1={SIGNATURE}",
        f"t=-{NOW},v1={SIGNATURE}",
        f"t=now,v1={SIGNATURE}",
        f"t=\u0661\u0668,v1={SIGNATURE}",
        f"t={NOW},v1=\xe9\xff",
        "\xe9=\xff",
    ],
)
def test_a_header_without_one_time_and_its_signature_is_not_good(header: str) -> None:
    assert not is_good(header)


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("digits", [20, 400, 5000])
def test_a_time_of_any_length_is_not_good(digits: int, sign: str) -> None:
    timestamp = sign + "9" * digits

    assert not is_good(f"t={timestamp},v1={signature(BODY, timestamp=timestamp)}")


@pytest.mark.parametrize("seconds", [0, 1, TOLERANCE_SECONDS])
def test_a_clock_may_be_off_by_the_tolerance_both_ways(seconds: int) -> None:
    assert is_good(HEADER, now=NOW + seconds)
    assert is_good(HEADER, now=NOW - seconds)


@pytest.mark.parametrize("seconds", [TOLERANCE_SECONDS + 0.5, TOLERANCE_SECONDS + 1, 86_400])
def test_an_old_signature_and_one_from_the_future_are_not_good(seconds: float) -> None:
    assert TOLERANCE_SECONDS == 300
    assert not is_good(HEADER, now=NOW + seconds)
    assert not is_good(HEADER, now=NOW - seconds)


@pytest.mark.parametrize("secret", ["", SECRET[:-1], SECRET + "x", SECRET.upper(), SECRET + "é"])
def test_another_secret_is_not_good(secret: str) -> None:
    assert not is_good(HEADER, secret=secret)


def test_a_signature_of_another_time_is_not_good() -> None:
    assert not is_good(f"t={NOW + 1},v1={SIGNATURE}")


@given(body=st.binary(max_size=300), altered=st.binary(max_size=300))
@example(body=BODY, altered=BODY + b" ")
@example(body=BODY, altered=b"")
@example(body=b"", altered=b".")
def test_a_signature_is_of_one_body_alone(body: bytes, altered: bytes) -> None:
    header = f"t={NOW},v1={signature(body)}"

    assert is_good(header, body)
    assert is_good(header, altered) == (altered == body)


# a header comes as latin-1, whatever bytes it holds
@given(header=st.text(st.characters(max_codepoint=0xFF)) | st.from_regex(r"(t=\d+,?|v1=\w*,?)*", fullmatch=True))
def test_no_header_is_good_by_chance_or_too_much(header: str) -> None:
    assert not is_good(header)


@pytest.mark.parametrize(
    ("event_type", "members", "meaning"),
    [
        ("checkout.session.completed", {"payment_status": "paid"}, "paid"),
        ("checkout.session.completed", {"payment_status": "no_payment_required"}, "paid"),
        ("checkout.session.completed", {"payment_status": "unpaid"}, None),
        ("checkout.session.completed", {}, None),
        ("checkout.session.async_payment_succeeded", {"payment_status": "paid"}, "paid"),
        ("checkout.session.async_payment_failed", {"payment_status": "unpaid"}, "failed"),
        ("checkout.session.expired", {"payment_status": "unpaid"}, "failed"),
        ("payment_intent.succeeded", {}, "paid"),
        ("payment_intent.canceled", {}, "failed"),
        ("payment_intent.payment_failed", {}, None),
        ("payment_intent.created", {"payment_status": "paid"}, None),
        ("charge.refunded", {"refunded": True}, "refunded"),
        ("charge.refunded", {"refunded": False}, None),
        ("charge.refunded", {"refunded": None}, None),
        ("charge.refunded", {}, None),
        ("charge.succeeded", {"refunded": False}, None),
        ("refund.created", {}, None),
        ("customer.created", {}, None),
        ("Payment_Intent.Succeeded", {}, None),
        ("of.later", {"payment_status": "paid", "refunded": True}, None),
    ],
)
def test_an_event_means_what_is_final_and_else_nothing(
    event_type: str, members: dict[str, Any], meaning: str | None
) -> None:
    assert payment_status_of(event(event_type, **members)) == meaning


@pytest.mark.parametrize(
    ("members", "booking_id"),
    [
        ({"metadata": {"booking_id": str(BOOKING)}}, BOOKING),
        ({"metadata": {"booking_id": str(BOOKING).upper(), "more": [1, {}]}}, BOOKING),
        ({"client_reference_id": str(BOOKING)}, BOOKING),
        ({"metadata": {}, "client_reference_id": str(BOOKING)}, BOOKING),
        ({"metadata": {"booking_id": str(BOOKING)}, "client_reference_id": str(ANOTHER)}, BOOKING),
        ({"metadata": {"booking_id": "order 7"}, "client_reference_id": str(BOOKING)}, BOOKING),
        ({"metadata": {"booking_id": str(BOOKING)}, "client_reference_id": "cart 7"}, BOOKING),
        ({"metadata": {"booking": str(BOOKING)}}, None),
        ({"metadata": {"booking_id": ""}, "client_reference_id": ""}, None),
        ({"metadata": {"booking_id": None}, "client_reference_id": None}, None),
        ({}, None),
    ],
)
def test_the_booking_is_the_one_that_metadata_names_or_else_the_reference(
    members: dict[str, Any], booking_id: UUID | None
) -> None:
    assert booking_of(event(**members)) == booking_id


@pytest.mark.parametrize("name", [7, 1e400, True, [str(BOOKING)], {"id": str(BOOKING)}, "x" * 100_000, "\ud800", "\0"])
def test_what_names_no_booking_names_none(name: object) -> None:
    assert booking_of(event(metadata={"booking_id": name})) is None


def test_an_object_whose_metadata_is_null_has_none() -> None:
    # as Stripe's API describes a checkout session: "metadata: nullable"
    given = event(metadata=None, client_reference_id=str(BOOKING))

    assert booking_of(given) == BOOKING


@pytest.mark.parametrize(
    "body",
    [
        {"type": "t", "data": {"object": {}}},
        {"id": "evt_1", "data": {"object": {}}},
        {"id": "evt_1", "type": "t"},
        {"id": "evt_1", "type": "t", "data": {}},
        {"id": "evt_1", "type": "t", "data": {"object": None}},
        {"id": "", "type": "t", "data": {"object": {}}},
        {"id": "evt 1", "type": "t", "data": {"object": {}}},
        {"id": "evt_\0", "type": "t", "data": {"object": {}}},
        {"id": "e" * 256, "type": "t", "data": {"object": {}}},
        {"id": "evt_1", "type": "t" * 256, "data": {"object": {}}},
        {"id": "evt_1", "type": "t\n", "data": {"object": {}}},
        [],
        None,
    ],
)
def test_what_is_no_event_is_refused(body: object) -> None:
    with pytest.raises(ValidationError):
        StripeEvent.model_validate(body)
