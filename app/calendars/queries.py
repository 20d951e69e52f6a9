"""One call a function of sql/: bookings for a calendar."""

from uuid import UUID

from asyncpg import Record

from app.database import Database


async def calendar_bookings(
    db: Database, *, resource_id: UUID | None = None, customer_ref: str | None = None
) -> list[Record]:
    """The bookings of a resource, or of a customer, from a month ago on. Raises resource_not_found."""
    return await db.call("calendar_bookings", p_resource_id=resource_id, p_customer_ref=customer_ref)
