"""One call a function of sql/: a customer's data."""

from datetime import timedelta
from uuid import UUID

from asyncpg import Record

from app.conditions import fingerprint
from app.customers.schemas import CustomerFilters, Why
from app.database import Database
from app.security import Actor


async def list_customers(db: Database, filters: CustomerFilters) -> str:
    """One page of the customers that pass every given filter, as JSON."""
    return str(
        await db.call_value(
            "list_customers",
            p_ref=filters.ref,
            p_email=filters.email,
            p_phone=filters.phone,
            p_limit=filters.limit,
            p_cursor=filters.cursor,
        )
    )


async def export_customer(db: Database, ref: str) -> str:
    """Everything that is held on the customer, as JSON. Raises customer_not_found."""
    return str(await db.call_value("export_customer", p_customer_ref=ref))


async def erase_customer(db: Database, actor: Actor, ref: str, why: Why, idempotency_key: str | None) -> Record:
    """What was erased, or what this key erased before: `body, replayed`.

    Raises customer_not_found, legal_hold, customer_active, idempotency_conflict.
    """
    return await db.call_row(
        "erase_customer",
        p_actor=actor.json(),
        p_customer_ref=ref,
        p_reason=why.reason,
        p_idempotency_key=idempotency_key,
        p_request_hash=fingerprint(why, ref),
    )


async def erase_idle_customer(db: Database, actor: Actor, customer_id: UUID, keep: timedelta) -> bool:
    """Erase the customer if nothing happened with them for so long. Raises legal_hold, customer_active."""
    return bool(
        await db.call_value("erase_idle_customer", p_actor=actor.json(), p_customer_id=customer_id, p_keep=keep)
    )


async def put_legal_hold(db: Database, actor: Actor, ref: str, why: Why) -> str:
    """The hold, as JSON. Raises customer_not_found."""
    return str(await db.call_value("put_legal_hold", p_actor=actor.json(), p_customer_ref=ref, p_reason=why.reason))


async def delete_legal_hold(db: Database, actor: Actor, ref: str) -> None:
    """Take the hold away, if there is one. Raises customer_not_found."""
    await db.call("delete_legal_hold", p_actor=actor.json(), p_customer_ref=ref)
