"""Payment events as providers send them and admins see them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from app.schemas import Page

EventText = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
Outcome = Literal["recorded", "unchanged", "ignored", "booking_not_found", "hold_expired", "invalid_transition"]


class StripeObject(BaseModel):
    """What a Stripe event is about: as much of it as tells which booking, and what became of its payment."""

    metadata: dict[str, Any] | None = Field(None, description="`booking_id` says which booking.")
    client_reference_id: str | None = Field(None, description="A checkout session may name the booking here instead.")
    payment_status: str | None = None
    refunded: bool | None = None


class StripeEventData(BaseModel):
    """A Stripe event's `data`."""

    object: StripeObject


class StripeEvent(BaseModel):
    """A Stripe event. What it holds besides is not looked at."""

    id: EventText = Field(examples=["evt_1NG8Du2eZvKYlo2CUI79vXWy"])
    type: EventText = Field(examples=["checkout.session.completed"])
    data: StripeEventData


class PaymentEvent(BaseModel):
    """What a payment provider told of a booking, and what became of it."""

    id: str = Field(description="The provider's own id of the event: it is taken once.")
    event_type: str
    booking_id: UUID | None
    payment_status: Literal["paid", "failed", "refunded"] | None
    outcome: Outcome = Field(
        description="`recorded` on the booking, `unchanged` because it was so already, `ignored` because it says "
        "nothing final; or why it could not be recorded."
    )
    action: Literal["refund", "find_booking"] | None = Field(
        description="What a person has to do: money came for a place that is gone, or for a booking nobody knows."
    )
    created_at: datetime


class PaymentEventPage(Page):
    """One page of payment events, by id."""

    items: list[PaymentEvent]
