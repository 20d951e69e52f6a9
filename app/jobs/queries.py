"""One call a function of sql/: jobs."""

from asyncpg import Record

from app.database import Database
from app.security import Actor


async def complete_due_bookings(db: Database, actor: Actor, limit: int) -> int:
    """How many confirmed bookings past their end became completed."""
    return int(await db.call_value("complete_due_bookings", p_actor=actor.json(), p_limit=limit))


async def expire_due_bookings(db: Database, actor: Actor, limit: int) -> int:
    """How many holds past their time became expired."""
    return int(await db.call_value("expire_due_bookings", p_actor=actor.json(), p_limit=limit))


async def refresh_due_schedules(db: Database, actor: Actor, limit: int) -> int:
    """How many schedules, whose day was over, reach to their horizon again."""
    return int(await db.call_value("refresh_due_schedules", p_actor=actor.json(), p_limit=limit))


async def close_waitlists(db: Database, actor: Actor, limit: int) -> int:
    """How many waited for a slot that has begun or is closed, and are told so."""
    return int(await db.call_value("close_waitlists", p_actor=actor.json(), p_limit=limit))


async def prune_idempotency_keys(db: Database, _actor: Actor, limit: int) -> int:
    """How many idempotency keys were old enough to forget."""
    return int(await db.call_value("prune_idempotency_keys", p_limit=limit))


async def due_jobs(db: Database) -> Record:
    """`remaining_due, oldest_due_age_ms`."""
    return await db.call_row("due_jobs")
