"""The value types that several features share."""

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Self
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

# Postgres cannot store NUL in text, so it may not come in.
_NO_NUL = r"^[^\x00]*$"

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_NO_NUL)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000, pattern=_NO_NUL)]
MAX_DEPTH = 32


def _depth(value: object) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(_depth, parts), default=0)


def _storable(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        if _depth(metadata) > MAX_DEPTH:
            msg = f"must not be nested deeper than {MAX_DEPTH}"
            raise ValueError(msg)
        # Python reads NaN, infinities and lone surrogates from JSON; no other JSON reader would take them back
        json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        msg = f"must not be nested deeper than {MAX_DEPTH}"
        raise ValueError(msg) from None
    return metadata


Metadata = Annotated[
    dict[str, Any], AfterValidator(_storable), Field(description="Anything of yours; stored and answered as it is.")
]

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def _in_range(instant: datetime) -> datetime:
    if not EARLIEST <= instant < LATEST:
        msg = "must lie between the years 2000 and 2200"
        raise ValueError(msg)
    return instant.astimezone(UTC)


@lru_cache
def _timezones() -> frozenset[str]:
    return frozenset(name for name in available_timezones() if name[0].isupper() and name != "Factory")


def is_timezone(name: str) -> bool:
    """Whether `name` is an IANA zone."""
    return name in _timezones()


def _known_timezone(name: str) -> str:
    if not is_timezone(name):
        msg = "is not an IANA time zone, such as Europe/Athens"
        raise ValueError(msg)
    return name


Instant = Annotated[AwareDatetime, AfterValidator(_in_range)]
Timezone = Annotated[str, AfterValidator(_known_timezone), Field(examples=["Europe/Athens"])]
Language = Annotated[
    str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35, examples=["el"], description="BCP 47.")
]


class Input(BaseModel):
    """A request body: unknown fields are an error, so that a typo cannot pass for a default."""

    model_config = ConfigDict(extra="forbid")


Override = Annotated[
    Text | None,
    Field(description="Why, for the record. An admin who gives one passes over notice, window, cut-off and limit."),
]
# strict: a body says a number as a number
Units = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Capacity = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Days = Annotated[int, Field(strict=True, ge=0, le=400)]
Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", examples=["09:00"])]
MaxRunning = Annotated[int, Field(strict=True, ge=1, le=10_000)]
StaggerMs = Annotated[int, Field(strict=True, ge=0, le=60_000)]
Status = Literal["pending", "confirmed", "completed", "cancelled", "failed", "expired", "no_show"]
PaymentMethod = Literal["pay_on_arrival", "pay_now"]
PaymentStatus = Literal["pending", "paid", "failed", "refunded"]
EventType = Literal[
    "booking.created",
    "booking.confirmed",
    "booking.rescheduled",
    "booking.modified",
    "booking.cancelled",
    "booking.completed",
    "booking.expired",
    "booking.no_show",
    "booking.failed",
    "prebooking.created",
    "prebooking.executing",
    "prebooking.modified",
    "prebooking.succeeded",
    "prebooking.failed",
    "prebooking.cancelled",
    "auto_sync.created",
    "auto_sync.responded",
    "auto_sync.reminded",
    "auto_sync.modified",
    "auto_sync.paused",
    "auto_sync.resumed",
    "auto_sync.completed",
    "auto_sync.cancelled",
    "credentials.invalid",
    "schedule.changed",
    "slot.full",
    "webhook_endpoint.disabled",
    "webhook_endpoint.tested",
]


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


class Page(BaseModel):
    """One page of a list."""

    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last.")
