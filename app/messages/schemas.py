"""Messages, channels and preferences as clients send and see them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from app.schemas import Input, Instant, Language, Name, Page, Timezone, Units

ChannelName = Literal["email", "sms"]
MessageStatus = Literal["pending", "sending", "sent", "failed", "skipped"]
Template = Literal[
    "booking_confirmed",
    "booking_held",
    "booking_rescheduled",
    "booking_reminder",
    "booking_cancelled",
    "booking_expired",
    "prebooking_succeeded",
    "prebooking_failed",
    "auto_sync_invited",
    "auto_sync_reminder",
    "auto_sync_completed",
]


class ChannelSwitch(Input):
    """Whether messages go out over a channel."""

    is_enabled: Annotated[bool, Field(strict=True)]


class Channel(BaseModel):
    """A way to reach customers."""

    name: ChannelName
    is_enabled: bool
    updated_at: datetime | None = Field(description="When somebody last changed it.")


class Channels(BaseModel):
    """Every channel."""

    items: list[Channel]


class Preferences(Input):
    """How a customer wants to be told. What is left out has its default again."""

    language: Language | None = Field(None, description="Null: the installation's.")
    timezone: Timezone | None = Field(None, description="Whose night is quiet. Null: the resource's.")
    email_opt_out: Annotated[bool, Field(strict=True, description="No email.")] = False
    sms_opt_out: Annotated[bool, Field(strict=True, description="No SMS.")] = False


class CustomerPreferences(Preferences):
    """How this customer wants to be told."""

    customer_ref: str


class MessageFilters(BaseModel):
    """Which messages to list: those that pass every given filter."""

    customer_ref: Name | None = None
    status: MessageStatus | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Message(BaseModel):
    """A message to a customer, and what became of it. Its text and the address are not kept."""

    id: UUID
    customer_ref: str | None
    channel: ChannelName
    template: Template
    subject_type: Literal["booking", "prebooking", "auto_sync"]
    subject_id: UUID
    dedupe_key: str = Field(description="The event's id, or what names a reminder: one message for each and channel.")
    status: MessageStatus
    language: str | None = Field(description="In which it went out.")
    reason: str | None = Field(
        description="Why it was skipped: `outdated`, `too_late`, `opted_out`, `no_address`, `channel_disabled`; or has "
        "failed: `invalid_address`, `refused`, `gave_up`, `outcome_unknown`."
    )
    detail: str | None = Field(description="What the server or provider said last: a code.")
    provider_ref: str | None = Field(description="The Message-ID, or what the provider calls it.")
    sent_at: datetime | None
    created_at: datetime
    updated_at: datetime


class MessagePage(Page):
    """One page of messages, in order of creation."""

    items: list[Message]


class Sample(Input):
    """What a preview is filled with, where it is not to be ours."""

    customer_name: Name | None = "Ann Example"
    resource_name: Name = "Court 1"
    timezone: Timezone = "Europe/Athens"
    starts_at: Instant = datetime.fromisoformat("2030-06-03T15:00:00+00:00")
    ends_at: Instant = datetime.fromisoformat("2030-06-03T16:00:00+00:00")
    expires_at: Instant = datetime.fromisoformat("2030-06-01T09:15:00+00:00")
    reference: Name = "N4C2ZR9"
    units: Units = 1
    event_name: Name = "Five-a-side"
    link: Name = "https://book.example.com/respond/Zm9yIGV4YW1wbGU"


class PreviewRequest(Input):
    """Which message to render."""

    template: Template
    language: Language | None = None
    sample: Sample = Sample()


class Preview(BaseModel):
    """A message as a customer would get it."""

    language: str = Field(description="The one there was a template for.")
    subject: str
    text: str
    html: str
    sms: str
