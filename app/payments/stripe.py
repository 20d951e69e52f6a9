"""Stripe's webhook format: its signature, and what an event means for a booking.

The scheme is Stripe's `v1`: HMAC-SHA256 with the endpoint's secret over `<timestamp>.<body>`, several signatures while
a secret is rolled, and a timestamp that may be five minutes off (docs.stripe.com/webhooks/signature).
"""

import hashlib
import hmac
import re
from typing import Literal
from uuid import UUID

from app.payments.schemas import StripeEvent

TOLERANCE_SECONDS = 300
_TIMESTAMP = re.compile(r"[0-9]{1,12}")

# A failed attempt is not among them: the customer may try another card until the hold ends.
MEANINGS: dict[str, Literal["paid", "failed", "refunded"]] = {
    "checkout.session.async_payment_failed": "failed",
    "checkout.session.async_payment_succeeded": "paid",
    "checkout.session.expired": "failed",
    "payment_intent.canceled": "failed",
    "payment_intent.succeeded": "paid",
}


def is_signed(header: str, body: bytes, secret: str, now: float) -> bool:
    """Whether the `Stripe-Signature` header belongs to this body and was made within the tolerance of `now`."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    timestamps = [value for name, _, value in parts if name == "t" and _TIMESTAMP.fullmatch(value)]
    if len(timestamps) != 1 or abs(now - int(timestamps[0])) > TOLERANCE_SECONDS:
        return False
    expected = hmac.new(secret.encode(), timestamps[0].encode() + b"." + body, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(expected.encode(), value.encode()) for name, _, value in parts if name == "v1")


def payment_status_of(event: StripeEvent) -> Literal["paid", "failed", "refunded"] | None:
    """What the event says of the payment; None for an event that says nothing final."""
    held = event.data.object
    if event.type == "checkout.session.completed":
        return "paid" if held.payment_status in ("paid", "no_payment_required") else None
    if event.type == "charge.refunded":
        # a part of the money is no refund of the booking
        return "refunded" if held.refunded else None
    return MEANINGS.get(event.type)


def booking_of(event: StripeEvent) -> UUID | None:
    """The booking the event is about: `metadata.booking_id`, or a checkout's `client_reference_id`."""
    held = event.data.object
    for text in ((held.metadata or {}).get("booking_id"), held.client_reference_id):
        try:
            return UUID(str(text))
        except ValueError:
            continue
    return None
