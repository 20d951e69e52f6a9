"""Bookings as clients send and see them."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from app.schemas import Input, Metadata, Name, Page, Text

Status = Literal["pending", "confirmed", "completed", "cancelled", "failed", "expired", "no_show"]
PaymentMethod = Literal["pay_on_arrival", "pay_now"]
PaymentStatus = Literal["pending", "paid", "failed", "refunded"]
Units = Annotated[int, Field(ge=1, le=10_000)]


class CustomerInput(Input):
    """Who books. The same `ref` is the same customer; without one, each booking has a customer of its own."""

    ref: Name | None = Field(None, description="Your own id of the customer; opaque to Holdfast.")
    name: Name | None = None
    email: Name | None = None
    phone: Name | None = None

    @model_validator(mode="after")
    def _someone(self) -> Self:
        if not any((self.ref, self.name, self.email, self.phone)):
            msg = "give at least one of ref, name, email and phone"
            raise ValueError(msg)
        return self


class BookingCreate(Input):
    """A place in a slot, for a customer."""

    slot_id: UUID
    customer: CustomerInput
    units: Units = 1
    payment_method: PaymentMethod = "pay_on_arrival"
    metadata: Annotated[Metadata, Field(default_factory=dict)]


class Reason(Input):
    """Why, for the record."""

    reason: Text | None = None


class BookingReschedule(Input):
    """Where to."""

    slot_id: UUID


class BookingPayment(Input):
    """What the payment came to."""

    payment_status: Literal["paid", "failed", "refunded"]


class Booking(BaseModel):
    """A booking."""

    id: UUID
    reference: str = Field(description="Short, for people to read out. Not a secret.", examples=["N4C2ZR9"])
    resource_id: UUID
    slot_id: UUID
    customer_ref: str | None
    status: Status
    units: int
    payment_method: PaymentMethod
    payment_status: PaymentStatus
    starts_at: datetime
    ends_at: datetime
    expires_at: datetime | None = Field(description="Until when a pending booking holds its place.")
    external_id: str | None = Field(description="Its id in the system it was imported from.")
    version: int = Field(description="Grows with every change; the ETag is this number in quotes.")
    metadata: Metadata
    created_at: datetime
    updated_at: datetime


class BookingPage(Page):
    """One page of bookings, by start."""

    items: list[Booking]
