"""One call a function of sql/: the audit trail."""

from uuid import UUID

from app.database import Database


async def booking_history(db: Database, booking_id: UUID) -> str:
    """The audit trail of one booking as JSON. Raises booking_not_found."""
    return str(await db.call_value("booking_history", p_booking_id=booking_id))
