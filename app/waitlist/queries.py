"""One call a function of sql/: waitlists."""

from uuid import UUID

from asyncpg import Record

from app.customer import customer_of
from app.database import Database
from app.security import Actor
from app.waitlist.schemas import WaitlistFilters, WaitlistJoin


async def join_waitlist(db: Database, actor: Actor, body: WaitlistJoin) -> Record:
    """The customer's place in that line: `entry_id, body`.

    Raises slot_not_found, slot_closed, slot_in_past, not_open_yet, too_late.
    """
    return await db.call_row(
        "join_waitlist",
        p_actor=actor.json(),
        p_slot_id=body.slot_id,
        p_customer=customer_of(actor, body.customer),
        p_units=body.units,
        p_payment_method=body.payment_method,
    )


async def get_waitlist_entry(db: Database, actor: Actor, entry_id: UUID) -> str:
    """One place in line as JSON. Raises waitlist_entry_not_found."""
    return str(await db.call_value("get_waitlist_entry", p_entry_id=entry_id, p_customer_ref=actor.customer_ref))


async def list_waitlist(db: Database, actor: Actor, filters: WaitlistFilters) -> str:
    """One page of the places in line that pass every given filter, as JSON."""
    return str(
        await db.call_value(
            "list_waitlist",
            p_slot_id=filters.slot_id,
            p_customer_ref=actor.customer_ref or filters.customer_ref,
            p_status=filters.status,
            p_limit=filters.limit,
            p_cursor=filters.cursor,
        )
    )


async def accept_offer(db: Database, actor: Actor, entry_id: UUID) -> Record:
    """The booking that was offered, confirmed: `booking_id, booking_version, body`.

    Raises waitlist_entry_not_found, invalid_transition, hold_expired.
    """
    return await db.call_row("accept_offer", p_actor=actor.json(), p_entry_id=entry_id)


async def leave_waitlist(db: Database, actor: Actor, entry_id: UUID) -> str:
    """The place in line, given up, as JSON. Raises waitlist_entry_not_found, invalid_transition."""
    return str(await db.call_value("leave_waitlist", p_actor=actor.json(), p_entry_id=entry_id))
