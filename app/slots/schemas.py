"""Slots as clients send and see them."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from app.schemas import Capacity, Input, Instant


class SlotCreate(Input):
    """One bookable interval, half-open: it ends the instant the next may start."""

    starts_at: Instant
    ends_at: Instant
    max_bookings: Capacity
    max_units: Capacity | None = Field(None, description="The most units all bookings together may hold.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.starts_at >= self.ends_at:
            msg = "ends_at must come after starts_at"
            raise ValueError(msg)
        return self


class SlotsCreate(Input):
    """Slots to add to one resource."""

    slots: Annotated[list[SlotCreate], Field(min_length=1, max_length=1000)]


class Slot(BaseModel):
    """A slot and what is left of it."""

    id: UUID
    resource_id: UUID
    starts_at: datetime
    ends_at: datetime
    max_bookings: int
    max_units: int | None
    remaining_bookings: int
    remaining_units: int | None
    available: bool = Field(description="Whether it may be booked now, with the units asked for.")
    reason: Literal["closed", "past", "notice", "not_open", "full"] | None = Field(
        description="Why not, where it is not available: `closed` to newcomers, `past`, too late for the resource's "
        "`notice`, `not_open` yet (see `opens_at`), or `full` for the units asked for."
    )
    opens_at: datetime | None = Field(description="When booking opens, where there is a booking window.")


class SlotsCreated(BaseModel):
    """What became of the given slots."""

    created: int
    kept: int = Field(description="How many existed with the same times; they stay as they were.")
    slots: list[Slot]


class Availability(BaseModel):
    """The slots of one or more resources, by start."""

    resource_id: UUID | None = Field(description="The resource, where one was asked for.")
    timezone: str = Field(description="The zone in which the times are given.")
    slots: list[Slot]


class GivenSlots(BaseModel):
    """The slots asked for by id, by start; ids of no slot are left out."""

    timezone: str = Field(description="The zone in which the times are given.")
    slots: list[Slot]
