"""One call a function of sql/: the audit trail."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from app.database import Database


async def booking_history(db: Database, booking_id: UUID, as_of: datetime | None) -> str:
    """The audit trail of one booking up to then, and the booking as it was, as JSON. Raises booking_not_found."""
    return str(await db.call_value("booking_history", p_booking_id=booking_id, p_as_of=as_of))


async def verify_audit_log(db: Database) -> dict[str, Any]:
    """What is wrong with the trail, and its checkpoints; the rest is as `Report` has it."""
    report: dict[str, Any] = json.loads(await db.call_value("verify_audit_log"))
    return report


async def audit_mark(db: Database) -> Record:
    """Up to where a checkpoint may reach, `up_to`, once all transactions `before` are over."""
    return await db.call_row("audit_mark")


async def draft_audit_checkpoint(db: Database, mark: Record) -> str | None:
    """What the next checkpoint states; None while rows may still be added below the mark, or are not chained."""
    statement: str | None = await db.call_value(
        "draft_audit_checkpoint", p_up_to=mark["up_to"], p_before=mark["before"]
    )
    return statement


async def put_audit_checkpoint(db: Database, statement: str, signature: bytes | None) -> bool:
    """Whether the checkpoint is on record: False when another came first."""
    return bool(await db.call_value("put_audit_checkpoint", p_statement=statement, p_signature=signature))


async def newest_audit_checkpoint(db: Database) -> Record:
    """When the newest checkpoint was made, `created_at`, and whether it `is_signed`; None where there is none."""
    return await db.call_row("newest_audit_checkpoint")
