"""Bookings as clients send and see them."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, Json

from app.schemas import (
    Booking,
    CustomerInput,
    Input,
    Instant,
    Metadata,
    Name,
    Override,
    Page,
    PaymentMethod,
    Status,
    Units,
)


class BookingCreate(Input):
    """A place in a slot, for a customer."""

    slot_id: UUID
    customer: CustomerInput | None = Field(None, description="May be left out by a customer with a token.")
    units: Units = 1
    payment_method: PaymentMethod = "pay_on_arrival"
    metadata: Annotated[Metadata, Field(default_factory=dict)]
    reason: Override = None


class Reason(Input):
    """Why, for the record."""

    reason: Override = None


class BookingReschedule(Input):
    """Where to."""

    slot_id: UUID
    reason: Override = None


class BookingPayment(Input):
    """What the payment came to."""

    payment_status: Literal["paid", "failed", "refunded"]


class BookingFilters(BaseModel):
    """Which bookings to list: those that pass every given filter."""

    status: Status | None = None
    resource_id: UUID | None = None
    customer_ref: Name | None = Field(None, description="A customer with a token sees own bookings whatever it says.")
    starting: Instant | None = Field(None, alias="from", description="Starts at or after this.")
    before: Instant | None = Field(None, alias="to", description="Starts before this.")
    updated_since: Instant | None = None
    metadata: Json[Metadata] | None = Field(
        None, description="A JSON object: bookings whose metadata contains all of it.", examples=['{"team": "red"}']
    )
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class BookingPage(Page):
    """One page of bookings, by start."""

    items: list[Booking]
