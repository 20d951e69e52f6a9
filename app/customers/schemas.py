"""Customers as admins export, hold and erase them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from app.schemas import Booking, Input, Name, Page, Text

WhyText = Annotated[Text, StringConstraints(min_length=1)]


class Why(Input):
    """The reason, for the record. It stays on record when the customer is erased: keep names out of it."""

    reason: WhyText = Field(examples=["asked for it on 2026-11-21"])


class CustomerFilters(BaseModel):
    """Which customers to list: those that pass every given filter."""

    ref: Name | None = None
    email: Name | None = Field(None, description="Capitals or not.")
    phone: Name | None = Field(None, description="As it was given when they booked, to the letter; `+` is `%2B` here.")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Customer(BaseModel):
    """A customer as stored."""

    id: UUID
    ref: str | None = Field(description="Null for a guest, whose every booking has a customer of its own.")
    name: str | None
    email: str | None
    phone: str | None
    language: str | None
    timezone: str | None
    email_opt_out: bool
    sms_opt_out: bool
    legal_hold_since: datetime | None
    legal_hold_reason: str | None
    bookings: int = Field(description="How many there are, whatever became of them.")
    created_at: datetime
    updated_at: datetime


class CustomerPage(Page):
    """Customers, newest first."""

    items: list[Customer]


class LegalHold(BaseModel):
    """While it is there, the customer cannot be erased."""

    customer_id: UUID
    customer_ref: str | None
    since: datetime
    reason: str


class Erasure(BaseModel):
    """What was done; the id is all that is left of the customer."""

    customer_id: UUID
    erased_at: datetime
    audit_entries_emptied: int = Field(description="The rows of the audit trail that lost their personal data.")


class CustomerExport(BaseModel):
    """Everything that is held on a customer, as it is stored; of credentials and calendar feeds never the secret."""

    customer: dict[str, Any]
    bookings: list[Booking]
    prebookings: list[dict[str, Any]]
    waitlist_entries: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    crew_memberships: list[dict[str, Any]]
    responses: list[dict[str, Any]] = Field(description="What auto-syncs asked, and what was answered.")
    credentials: list[dict[str, Any]]
    calendar_feeds: list[dict[str, Any]]
    payment_events: list[dict[str, Any]]
    audit_entries: list[dict[str, Any]]
