"""The audit trail as clients see it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.schemas import Booking


class AuditEntry(BaseModel):
    """One change: what was before, what came after, who did it and from where."""

    id: int
    subject_type: str
    subject_id: str
    event: str = Field(examples=["booking.cancelled"])
    action_type: str = Field(examples=["cancelled"])
    old_values: dict[str, Any] | None
    new_values: dict[str, Any] | None
    hidden_changes: list[str] | None = Field(description="Personal fields that changed; their values are not kept.")
    performed_by: Literal["customer", "admin", "system", "database"] = Field(
        description="`database` is a write that went around the API; `performed_by_id` is then the database user."
    )
    performed_by_id: str
    ip_address: str | None
    user_agent: str | None
    reason: str | None
    request_id: str | None
    created_at: datetime


class History(BaseModel):
    """The audit trail of one booking, oldest first; with `as_of`, up to then."""

    booking: Booking | None = Field(
        description="The booking as it was at `as_of`; null without it, and before it was made."
    )
    items: list[AuditEntry]
