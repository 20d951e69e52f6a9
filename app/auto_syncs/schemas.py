"""Auto-syncs as clients send and see them."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from app.schemas import Input, Instant, Name, Page, Text, Timezone, Units

AutoSyncStatus = Literal["running", "paused", "completed", "cancelled"]
Answer = Literal["accepted", "declined"]
MAX_TIMES = 20
MAX_NAMED = 200
# strict: a body says a number as a number
Seconds = Annotated[int, Field(strict=True, ge=1, le=366 * 86_400, description="In seconds.")]
Responses = Annotated[int, Field(strict=True, ge=1, le=10_000)]


class ShareGoal(Input):
    """So much of the crew."""

    share: Annotated[float, Field(strict=True, gt=0, le=1, examples=[0.6])]


class NamedGoal(Input):
    """These members."""

    customer_refs: Annotated[list[Name], Field(min_length=1, max_length=MAX_NAMED)]


ResponseGoal = Annotated[
    Literal["everyone"] | Responses | ShareGoal | NamedGoal,
    Field(
        description="How many have to answer, whatever they answer: `everyone`, a number, a share, or named members."
    ),
]


class Goal(NamedTuple):
    """A response goal as SQL takes it."""

    response_goal: str
    number: int | None = None
    share: float | None = None
    named_refs: list[str] = []  # noqa: RUF012 - never changed


class TimeInput(Input):
    """A time to propose: a slot of the resource, or where there is none, from when to when."""

    slot_id: UUID | None = None
    starts_at: Instant | None = None
    ends_at: Instant | None = None

    @model_validator(mode="after")
    def _slot_or_times(self) -> Self:
        is_time = self.starts_at is not None and self.ends_at is not None and self.starts_at < self.ends_at
        if is_time if self.slot_id is not None else not is_time:
            msg = "give slot_id, or starts_at and a later ends_at"
            raise ValueError(msg)
        if self.slot_id is not None and (self.starts_at or self.ends_at):
            msg = "a slot has its own times"
            raise ValueError(msg)
        return self


class AutoSyncCreate(Input):
    """What to ask a crew."""

    crew_id: UUID
    event_name: Name = Field(examples=["Five-a-side"])
    response_goal: ResponseGoal = "everyone"
    timezone: Timezone
    reminder_after: Seconds = 86_400
    pause_after: Seconds = 172_800
    times: Annotated[list[TimeInput], Field(max_length=MAX_TIMES)] = Field(
        [], description="What to choose from, best first."
    )
    resource_id: UUID | None = Field(None, description="Where the winning time is booked, for the crew's organizer.")
    units: Units = 1

    @property
    def goal(self) -> Goal:
        """The goal in columns."""
        match self.response_goal:
            case int() as number:
                return Goal("number", number=number)
            case ShareGoal(share=share):
                return Goal("share", share=share)
            case NamedGoal(customer_refs=refs):
                return Goal("named", named_refs=refs)
        return Goal("everyone")

    @property
    def proposed(self) -> list[dict[str, Any]]:
        """The times as SQL takes them."""
        return [time.model_dump(mode="json", exclude_none=True) for time in self.times]

    @property
    def durations(self) -> tuple[timedelta, timedelta]:
        """After how long to remind, and to pause."""
        return timedelta(seconds=self.reminder_after), timedelta(seconds=self.pause_after)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.pause_after <= self.reminder_after:
            msg = "pause_after must be longer than reminder_after"
            raise ValueError(msg)
        if any((time.slot_id is None) != (self.resource_id is None) for time in self.times):
            msg = "times are slot_ids with a resource_id, and starts_at and ends_at without one"
            raise ValueError(msg)
        return self


class Response(Input):
    """What a member answers. It may be changed until the auto-sync is over."""

    answer: Answer
    times: Annotated[list[UUID], Field(max_length=MAX_TIMES)] = Field([], description="The ids of the times that suit.")
    customer_ref: Name | None = Field(None, description="Who answers. May be left out by a customer with a token.")

    @model_validator(mode="after")
    def _none_suits_who_declines(self) -> Self:
        if self.answer == "declined" and self.times:
            msg = "who declines takes no time"
            raise ValueError(msg)
        return self


class StepReason(Input):
    """Why, for the record."""

    reason: Text | None = None


class AutoSyncFilters(BaseModel):
    """Which auto-syncs to list: those that pass every given filter."""

    crew_id: UUID | None = None
    status: AutoSyncStatus | None = None
    customer_ref: Name | None = Field(None, description="A customer with a token sees own ones whatever it says.")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class ProposedTime(BaseModel):
    """A time that is proposed."""

    id: UUID
    starts_at: datetime
    ends_at: datetime
    slot_id: UUID | None


class Participant(BaseModel):
    """A member who is asked, and what they answered."""

    id: UUID
    customer_ref: str | None
    name: str | None
    answer: Answer | None
    times: list[UUID] = Field(description="Those that suit.")
    answered_at: datetime | None


class AutoSyncSummary(BaseModel):
    """What a crew is asked, and how it stands."""

    id: UUID
    crew_id: UUID
    organizer_ref: str | None
    event_name: str
    status: AutoSyncStatus
    response_goal: Literal["everyone"] | int | ShareGoal | NamedGoal
    timezone: str
    reminder_after: int
    pause_after: int
    resource_id: UUID | None
    units: int
    times: list[ProposedTime]
    answered: int = Field(description="How many of those who are asked have answered.")
    started_at: datetime
    reminded_at: datetime | None
    paused_at: datetime | None
    pause_reason: str | None = Field(description="`goal_not_met` in time, or `by_hand`.")
    resumed_at: datetime | None
    completed_at: datetime | None
    winning_time_id: UUID | None = Field(description="The time that suits most, or the best of those to be had.")
    booking_id: UUID | None
    booking_error: str | None = Field(description="Why nothing is booked, as a code.")
    version: int
    created_at: datetime
    updated_at: datetime


class AutoSync(AutoSyncSummary):
    """An auto-sync with everybody who is asked."""

    participants: list[Participant]


class AutoSyncPage(Page):
    """One page of auto-syncs, in order of creation."""

    items: list[AutoSyncSummary]
