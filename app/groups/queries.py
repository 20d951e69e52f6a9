"""One call a function of sql/: several bookings in one step."""

from asyncpg import Record

from app.conditions import fingerprint
from app.customer import customer_of
from app.database import Database
from app.groups.schemas import BatchCreate, RecurringCreate
from app.security import Actor


async def create_bookings(db: Database, actor: Actor, body: BatchCreate, idempotency_key: str | None) -> Record:
    """All bookings of the batch, or what this key made before: `body, replayed`.

    Raises what a single booking raises, of the first item that cannot be had.
    """
    return await db.call_row(
        "create_bookings_safe",
        p_actor=actor.json(body.reason),
        p_items=[item.model_dump(mode="json") for item in body.items],
        p_customer=customer_of(actor, body.customer),
        p_payment_method=body.payment_method,
        p_idempotency_key=idempotency_key,
        p_request_hash=fingerprint(body),
    )


async def create_recurring_bookings(
    db: Database, actor: Actor, body: RecurringCreate, idempotency_key: str | None
) -> Record:
    """A report on every occurrence, or what this key answered before: `body, replayed`.

    Raises what a single booking raises: with `refuse` of the first occurrence that cannot be had, with `skip` of the
    last where none can.
    """
    return await db.call_row(
        "create_recurring_bookings",
        p_actor=actor.json(body.reason),
        p_slot_id=body.slot_id,
        p_customer=customer_of(actor, body.customer),
        p_every_days=body.every_days,
        p_count=body.count,
        p_on_conflict=body.on_conflict,
        p_units=body.units,
        p_payment_method=body.payment_method,
        p_metadata=body.metadata,
        p_idempotency_key=idempotency_key,
        p_request_hash=fingerprint(body),
    )
