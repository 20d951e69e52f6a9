"""One call a function of sql/: bookings."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

from asyncpg import Record

from app.bookings.schemas import BookingCreate, BookingFilters, BookingPayment, BookingReschedule, Reason
from app.conditions import fingerprint
from app.customer import customer_of
from app.database import Database
from app.security import Actor

# the SQL functions that change one booking; each takes its body's fields as arguments
Change = Literal["cancel_booking", "confirm_booking", "mark_no_show", "record_payment", "reschedule_booking"]


class Target(NamedTuple):
    """Which booking a change is for, as the caller last saw it."""

    booking_id: UUID
    version: int
    idempotency_key: str | None


async def create_booking(db: Database, actor: Actor, body: BookingCreate, idempotency_key: str | None) -> Record:
    """The new booking, or the one this key made before: `booking_id, booking_version, body, replayed`.

    Raises slot_not_found, slot_full, slot_closed, slot_in_past, not_open_yet, too_late, insufficient_units,
    limit_reached, idempotency_conflict.
    """
    return await db.call_row(
        "create_booking_safe",
        p_actor=actor.json(body.reason),
        p_slot_id=body.slot_id,
        p_customer=customer_of(actor, body.customer),
        p_units=body.units,
        p_payment_method=body.payment_method,
        p_metadata=body.metadata,
        p_idempotency_key=idempotency_key,
        p_request_hash=fingerprint(body),
    )


async def change_booking(
    db: Database, change: Change, actor: Actor, target: Target, body: Reason | BookingReschedule | BookingPayment
) -> Record:
    """The booking after `change`, or as this key answered before: `booking_id, booking_version, body, replayed`.

    Raises booking_not_found, version_conflict, invalid_transition, idempotency_conflict, and what the change itself
    refuses: hold_expired, too_early, too_late, or what create_booking raises of a slot.
    """
    return await db.call_row(
        change,
        p_actor=actor.json(),
        p_booking_id=target.booking_id,
        p_version=target.version,
        p_idempotency_key=target.idempotency_key,
        p_request_hash=fingerprint(body, target.booking_id, target.version),
        **{f"p_{name}": value for name, value in body},
    )


async def get_booking(db: Database, actor: Actor, booking_id: UUID) -> Record:
    """One booking, of a customer with a token only an own one. Raises booking_not_found."""
    return await db.call_row("get_booking", p_booking_id=booking_id, p_customer_ref=actor.customer_ref)


async def list_bookings(db: Database, actor: Actor, filters: BookingFilters) -> str:
    """One page of the bookings that pass every given filter, as JSON; of a customer with a token only own ones."""
    return str(
        await db.call_value(
            "list_bookings",
            p_status=filters.status,
            p_resource_id=filters.resource_id,
            p_customer_ref=actor.customer_ref or filters.customer_ref,
            p_from=filters.starting,
            p_to=filters.before,
            p_updated_since=filters.updated_since,
            p_metadata=filters.metadata,
            p_limit=filters.limit,
            p_cursor=filters.cursor,
        )
    )


async def import_bookings(db: Database, actor: Actor, rows: Sequence[dict[str, Any]]) -> list[str]:
    """`created` or `unchanged` for each row, in order; all rows are in, or none. Raises as create_booking does."""
    return list(await db.call_value("import_bookings", p_actor=actor.json(), p_rows=rows))
