"""Batches and series as clients send and see them."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from app.schemas import Booking, CustomerInput, Input, Metadata, Override, PaymentMethod, Units


class BatchItem(Input):
    """One booking of a batch."""

    slot_id: UUID
    units: Units = 1
    metadata: Annotated[Metadata, Field(default_factory=dict)]


class BatchCreate(Input):
    """Places in several slots, for one customer: all of them or none."""

    items: Annotated[list[BatchItem], Field(min_length=1, max_length=100)]
    customer: CustomerInput | None = Field(None, description="May be left out by a customer with a token.")
    payment_method: PaymentMethod = "pay_on_arrival"
    reason: Override = None


class RecurringCreate(Input):
    """The same wall-clock time in one resource, again and again."""

    slot_id: UUID = Field(description="The first occurrence.")
    every: Literal["day", "week"] = "week"
    interval: Annotated[int, Field(strict=True, ge=1, le=52, description="Every how many days or weeks.")] = 1
    count: Annotated[int, Field(strict=True, ge=2, le=100, description="How many occurrences, with the first.")]
    on_conflict: Literal["refuse", "skip"] = Field(
        "refuse", description="`refuse`: all or none. `skip`: book those that can be had, at least one."
    )
    customer: CustomerInput | None = Field(None, description="May be left out by a customer with a token.")
    units: Units = 1
    payment_method: PaymentMethod = "pay_on_arrival"
    metadata: Annotated[Metadata, Field(default_factory=dict)]
    reason: Override = None

    @property
    def every_days(self) -> int:
        """The distance of two occurrences, in days."""
        return self.interval * (7 if self.every == "week" else 1)


class Batch(BaseModel):
    """The bookings of a batch, in the order of its items."""

    bookings: list[Booking]


class Occurrence(BaseModel):
    """What became of one occurrence of a series."""

    occurrence: int = Field(description="From 1.")
    # no date-time: that would need an offset, and an hour that the clocks skip has none
    local_start: str = Field(
        description="Its wall-clock time in the resource's zone, without an offset.", examples=["2030-06-03T09:00:00"]
    )
    slot_id: UUID | None
    code: str | None = Field(description="Why it was skipped, as an error code; null where it was booked.")
    booking: Booking | None


class Series(BaseModel):
    """A report on every occurrence of a series."""

    booked: int
    occurrences: list[Occurrence]
