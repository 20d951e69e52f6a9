"""Places in a waitlist as clients send and see them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from app.schemas import CustomerInput, Input, Name, Page, PaymentMethod, Units

EntryStatus = Literal["waiting", "offered", "accepted", "expired", "cancelled", "closed"]


class WaitlistJoin(Input):
    """A place in the line for a slot."""

    slot_id: UUID
    customer: CustomerInput | None = Field(None, description="May be left out by a customer with a token.")
    units: Units = 1
    payment_method: PaymentMethod = "pay_on_arrival"


class WaitlistFilters(BaseModel):
    """Which places in line to list: those that pass every given filter."""

    slot_id: UUID | None = None
    customer_ref: Name | None = Field(None, description="A customer with a token sees own places whatever it says.")
    status: EntryStatus | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class WaitlistEntry(BaseModel):
    """A place in the line for a slot."""

    id: UUID
    slot_id: UUID
    customer_ref: str | None
    units: int
    payment_method: PaymentMethod
    status: EntryStatus = Field(
        description="`waiting`, until a place is `offered`; `accepted` once that is confirmed, `expired` when nobody "
        "took it in time, `cancelled` by leaving, `closed` when the slot began first."
    )
    ahead: int | None = Field(description="How many wait before it.")
    booking_id: UUID | None = Field(description="The hold that is offered.")
    expires_at: datetime | None = Field(description="Until when it is offered.")
    created_at: datetime
    updated_at: datetime


class WaitlistPage(Page):
    """One page of places in line, in order of joining."""

    items: list[WaitlistEntry]
