"""Webhook endpoints and deliveries as admins send and see them."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, HttpUrl, model_validator

from app.schemas import EventType, Input, Instant, Page, Text

MAX_URL = 2000


def _of_a_receiver(url: HttpUrl) -> HttpUrl:
    if url.username or url.password or url.fragment:
        msg = "has neither a user nor a fragment"
        raise ValueError(msg)
    if len(str(url)) > MAX_URL:
        msg = f"is longer than {MAX_URL} characters"
        raise ValueError(msg)
    return url


ReceiverUrl = Annotated[HttpUrl, AfterValidator(_of_a_receiver), Field(examples=["https://example.com/holdfast"])]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=50)]
DeliveryStatus = Literal["pending", "delivered", "failed", "cancelled"]


class WebhookEndpointCreate(Input):
    """Where events are to be delivered."""

    url: ReceiverUrl = Field(description="Over https; over http into WEBHOOK_ALLOWED_NETWORKS alone.")
    event_types: EventTypes | None = Field(None, description="Left out or null: all.")
    description: Text | None = None


class WebhookEndpointUpdate(Input):
    """What of an endpoint is to be changed; what is left out stays."""

    url: ReceiverUrl | None = None
    event_types: EventTypes | None = Field(None, description="Null: all.")
    description: Text | None = None
    is_enabled: bool | None = Field(None, description="True: begin anew; what was missed can be replayed.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if any(name in self.model_fields_set and getattr(self, name) is None for name in ("url", "is_enabled")):
            msg = "url and is_enabled may be left out, and may not be null"
            raise ValueError(msg)
        return self


class WebhookEndpoint(BaseModel):
    """Where events are delivered, and how that goes."""

    id: UUID
    url: str
    event_types: list[str] | None = Field(description="Null: all.")
    description: str | None
    is_enabled: bool
    disabled_reason: Literal["by_hand", "gone", "failing"] | None = Field(
        description="`gone`: it answered 410. `failing`: it has failed for five days."
    )
    failing_since: datetime | None = Field(description="When the first attempt failed after the last that did not.")
    version: int = Field(description="Grows with every change by an admin; the ETag is this number in quotes.")
    created_at: datetime
    updated_at: datetime


class WebhookEndpoints(BaseModel):
    """Every webhook endpoint, in order of creation."""

    items: list[WebhookEndpoint]


class WebhookEndpointSecret(BaseModel):
    """An endpoint with its new secret, which no other call answers."""

    endpoint: WebhookEndpoint
    secret: str = Field(description="What signs from now on. Shown this once.", examples=["whsec_…"])


class ReplayRange(Input):
    """Which events to deliver once more: those of a time."""

    from_: Instant = Field(alias="from")
    to: Instant


class Replayed(BaseModel):
    """What a replay of many came to."""

    replayed: int = Field(description="How many events are delivered once more.")
    next_from: datetime | None = Field(description="Go on from here; null when that was all.")


class DeliveryFilters(BaseModel):
    """Which deliveries to list: those that pass every given filter."""

    endpoint_id: UUID | None = None
    status: DeliveryStatus | None = None
    event_type: EventType | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Delivery(BaseModel):
    """An event on its way to an endpoint."""

    id: UUID
    endpoint_id: UUID
    event_id: str = Field(description="The `webhook-id`, the same at every attempt.", examples=["evt_4711"])
    event_type: str
    status: DeliveryStatus
    attempt_count: int
    last_status: int | None = Field(description="The HTTP status of the last answer; null where none came.")
    last_duration_ms: int | None
    last_answer: str | None = Field(description="The beginning of its body, 1 KiB at most.")
    last_error: str | None = Field(description="Why the last attempt did not deliver it.")
    next_attempt_at: datetime | None
    created_at: datetime
    updated_at: datetime


class DeliveryPage(Page):
    """One page of deliveries, in order of creation."""

    items: list[Delivery]


class DeliveryAttempt(BaseModel):
    """One time it was tried, and what came of it."""

    attempt: int
    status: int | None
    duration_ms: int
    answer: str | None
    error: str | None
    ended_at: datetime


class DeliveryDetail(Delivery):
    """A delivery with its attempts, oldest first."""

    attempts: list[DeliveryAttempt]
