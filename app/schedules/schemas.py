"""Schedules as clients send and see them."""

from datetime import date, datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from app.schemas import Capacity, Clock, Days, Input

Closing = Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", examples=["18:00"])]
Minutes = Annotated[int, Field(strict=True, ge=0, le=525_600)]
ShortMinutes = Annotated[int, Field(strict=True, ge=1, le=10_080)]


class Hours(Input):
    """Opening hours of one day, in the resource's time zone. Past midnight they go on as the next day's."""

    opens: Clock
    closes: Closing

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.opens >= self.closes:
            msg = "closes must come after opens; hours past midnight are the next day's"
            raise ValueError(msg)
        return self


class WeeklyHours(Hours):
    """Opening hours of one weekday."""

    weekday: Annotated[int, Field(strict=True, ge=1, le=7, description="ISO: 1 is Monday, 7 is Sunday.")]


class ScheduleRules(Input):
    """The rules of a resource. Wall-clock times are in its time zone, whatever its clocks do."""

    slot_minutes: Annotated[int, Field(strict=True, ge=5, le=1440, description="The length of each slot.")]
    max_bookings: Capacity = Field(description="The most bookings a slot takes.")
    max_units: Capacity | None = Field(None, description="The most units all bookings of a slot together may hold.")
    weekly: Annotated[list[WeeklyHours], Field(max_length=100, description="None: only slots added by hand.")]
    horizon_days: Annotated[int, Field(strict=True, ge=1, le=400)] = Field(
        60, description="Slots are made for today and this many days after it."
    )
    min_notice_minutes: Minutes = Field(0, description="A slot is booked at least this long before its start.")
    booking_window_days: Days | None = Field(None, description="Booking opens this many days before the slot's date.")
    opens_at_local: Clock = Field("00:00", description="The time of that day at which it opens.")
    cancel_cutoff_minutes: Minutes = Field(0, description="Cancelled or moved at least this long before the start.")
    hold_minutes: ShortMinutes = Field(15, description="How long an unpaid booking keeps its place.")
    offer_minutes: ShortMinutes = Field(60, description="How long a place is offered to the next in a waitlist.")
    max_bookings_per_customer: Capacity | None = Field(
        None, description="The most bookings still to come that one customer may have of this resource."
    )
    reminder_minutes: Annotated[list[Annotated[int, Field(strict=True, ge=1, le=525_600)]], Field(max_length=5)] = (
        Field([], description="Who has booked is reminded this long before the start.", examples=[[1440, 120]])
    )
    opening_policy: Literal["fifo", "lottery"] = Field(
        "fifo", description="In which order prebookings get their places: as they were made, or as they are drawn."
    )


class ExceptionHours(Input):
    """What one date has instead of the weekly hours: `closed`, or `hours` of its own."""

    closed: Literal[True] | None = None
    hours: Annotated[list[Hours], Field(min_length=1, max_length=24)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.closed is None) == (self.hours is None):
            msg = "give closed: true, or hours"
            raise ValueError(msg)
        return self


class ScheduleException(BaseModel):
    """A date that has hours of its own."""

    date: date
    hours: list[Hours] = Field(description="None: closed.")


class Schedule(ScheduleRules):
    """The rules of a resource, and its exceptions from today on."""

    resource_id: UUID
    timezone: str
    exceptions: list[ScheduleException]
    version: int
    created_at: datetime
    updated_at: datetime


class AffectedBooking(BaseModel):
    """A booking whose slot no longer fits the rules. It is honoured; its slot takes no newcomers."""

    id: UUID
    reference: str
    slot_id: UUID
    customer_ref: str | None
    status: Literal["pending", "confirmed"]
    units: int
    starts_at: datetime
    ends_at: datetime


class SchedulePlan(BaseModel):
    """What the rules do to the coming slots: how many of each kind."""

    dry_run: bool = Field(description="Whether this is what would happen; else it has.")
    created: int
    kept: int = Field(description="Fit as they are.")
    updated: int = Field(description="Their limits change, or newcomers may book them again.")
    legacy: int = Field(description="No longer fit, and have bookings: those stay, newcomers are not taken.")
    removed: int = Field(description="No longer fit, and never had a booking.")
    blocked: int = Field(description="Not made, because bookings on legacy slots still need their time.")
    affected_bookings: list[AffectedBooking] = Field(description="The bookings of slots that become legacy, by start.")
