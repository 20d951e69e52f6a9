"""What a recount finds."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Violation(BaseModel):
    """A promise that does not hold."""

    invariant: Literal[
        "slot_counters", "slot_capacity", "booking_job", "waitlist_offer", "schedule_job", "auto_sync_job"
    ]
    id: str = Field(description="The slot, booking, place in line or resource.")
    facts: dict[str, Any]


class Checked(BaseModel):
    """How many rows were recounted."""

    slots: int
    bookings: int
    jobs: int


class InvariantReport(BaseModel):
    """What a recount of everything found."""

    checked: Checked
    violation_count: int
    violations: list[Violation] = Field(description="The first hundred.")
