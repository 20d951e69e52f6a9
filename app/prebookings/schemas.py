"""Prebookings as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from app.schemas import CustomerInput, Input, Instant, Metadata, Name, Page, PaymentMethod, Text, Units

PrebookingStatus = Literal["pending", "executing", "succeeded", "failed", "cancelled"]
LocalTime = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d$", examples=["2026-12-01T18:00"]
    ),
]
MAX_PREFERENCES = 9


class LocalTarget(Input):
    """A slot of a resource of ours, by the wall-clock time at which it starts there."""

    starts_at_local: LocalTime

    @model_validator(mode="after")
    def _on_the_calendar(self) -> Self:
        datetime.fromisoformat(self.starts_at_local)
        return self


class PrebookingCreate(Input):
    """What to book when booking opens for it: at a resource of ours, or at a provider."""

    resource_id: UUID | None = None
    provider: Name | None = None
    target: Metadata = Field(
        description="At a resource: `starts_at_local`, the wall-clock time at which the slot starts there. At a "
        "provider: what its adapter takes; with a `date`, the provider's rules say when booking opens for it.",
        examples=[{"starts_at_local": "2026-12-01T18:00"}],
    )
    preferences: Annotated[list[Metadata], Field(max_length=MAX_PREFERENCES)] = Field(
        [], description="What else would do, best first: the next is tried as soon as one cannot be had."
    )
    opens_at: Instant | None = Field(
        None, description="When booking opens at the provider, where its rules do not say so. Past: at once."
    )
    customer: CustomerInput | None = Field(None, description="May be left out by a customer with a token.")
    units: Units = 1
    payment_method: PaymentMethod = "pay_on_arrival"
    join_waitlist: Annotated[
        bool, Field(description="Who gets none of the slots stands in line for the first that is full.")
    ] = False

    @property
    def targets(self) -> list[dict[str, Any]]:
        """The target and the preferences, best first."""
        return [self.target, *self.preferences]

    @model_validator(mode="after")
    def _here_or_there(self) -> Self:
        if (self.resource_id is None) == (self.provider is None):
            msg = "give resource_id, or provider"
            raise ValueError(msg)
        if self.provider is not None and (
            self.units != 1 or self.join_waitlist or self.payment_method != "pay_on_arrival"
        ):
            msg = "units, payment_method and join_waitlist are for a resource_id"
            raise ValueError(msg)
        if self.resource_id is not None and self.opens_at is not None:
            msg = "opens_at is for a provider; a resource's schedule says when booking opens"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _times_of_a_resource(self) -> Self:
        if self.resource_id is not None:
            try:
                TypeAdapter(list[LocalTarget]).validate_python(self.targets)
            except ValidationError:
                msg = 'a target at a resource is {"starts_at_local": "2026-12-01T18:00"}'
                raise ValueError(msg) from None
        return self


class PrebookingCancel(Input):
    """Why it is not wanted any more."""

    reason: Text | None = None


class PrebookingFilters(BaseModel):
    """Which prebookings to list: those that pass every given filter."""

    resource_id: UUID | None = None
    provider: Name | None = None
    customer_ref: Name | None = Field(None, description="A customer with a token sees own ones whatever it says.")
    status: PrebookingStatus | None = None
    needs_attention: bool | None = Field(None, description="Those of which nobody knows what became of them.")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Attempt(BaseModel):
    """One request for one target, and what was answered."""

    target: dict[str, Any]
    finding: str | None = Field(
        description="`booked`, or why not: an error code of ours, or what the provider said: `full`, `not_open_yet`, "
        "`bad_credentials`, `rate_limited`, `unavailable`, `refused`, `absent`; `unknown` where no answer came; null "
        "while one is awaited."
    )
    detail: str | None
    confirmation: str | None
    started_at: datetime
    fired_at: datetime | None = Field(description="When the first byte left.")
    ended_at: datetime | None


class Prebooking(BaseModel):
    """What is to be booked when booking opens, and what came of it."""

    id: UUID
    resource_id: UUID | None
    provider: str | None
    target: dict[str, Any]
    preferences: list[dict[str, Any]]
    customer_ref: str | None
    units: int
    payment_method: PaymentMethod
    join_waitlist: bool
    opens_at: datetime
    status: PrebookingStatus
    booked_target: dict[str, Any] | None = Field(description="Which of the target and the preferences it became.")
    booking_id: UUID | None
    confirmation: str | None = Field(description="What the provider calls the booking.")
    waitlist_entry_id: UUID | None
    reason: str | None = Field(description="Why it failed: why the target was not to be had, as a code.")
    detail: str | None = Field(description="The same in words, where there are any.")
    needs_attention: bool = Field(description="Nobody knows whether the provider booked it: a person has to look.")
    fired_at: datetime | None = Field(description="When its first request left.")
    lateness_ms: int | None = Field(description="How long after the opening that was, by the provider's clock.")
    lottery_seed: str | None = Field(description="What the order was drawn with, where the policy is the lottery.")
    attempts: list[Attempt]
    version: int
    created_at: datetime
    updated_at: datetime


class PrebookingPage(Page):
    """One page of prebookings, in order of creation."""

    items: list[Prebooking]
