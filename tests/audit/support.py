"""A trail with something of everything in it, its checkpoints, and what verifying it finds."""

import json
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg

from tests.concurrency.rivals import until
from tests.credentials.support import put_provider, store
from tests.factories import ACTOR, HOUR, SYSTEM, TOMORROW, Factory, insert_booking, make_customer
from tests.sql.schedules import put_exception, put_schedule
from tests.sql.support import call_json, call_row, call_value, cancel
from tests.webhooks.support import add_endpoint


class Fault(NamedTuple):
    """One line of what verification finds."""

    subject_type: str
    subject_id: str
    audit_id: int | None
    fault: str


async def faults(conn: asyncpg.Connection) -> list[Fault]:
    """What is wrong with the trail."""
    found = (await call_json(conn, "verify_audit_log"))["faults"]
    return [Fault(**fault) for fault in found]


async def checkpoint(conn: asyncpg.Connection, signature: bytes | None = None) -> dict[str, Any]:
    """The next checkpoint, made; what it states."""
    mark = await call_row(conn, "audit_mark")
    # tests in other databases of the server write too
    await until(conn, f"pg_snapshot_xmin(pg_current_snapshot()) >= '{mark['before']}'")
    draft = {"p_up_to": mark["up_to"], "p_before": mark["before"]}
    statement = await call_value(conn, "draft_audit_checkpoint", **draft)
    assert await call_value(conn, "put_audit_checkpoint", p_statement=statement, p_signature=signature)
    states: dict[str, Any] = json.loads(statement)
    return states


async def live(conn: asyncpg.Connection) -> None:
    """Bookings that change, rules, a waitlist, providers, webhooks, and writes around every function."""
    make = Factory(conn)
    await add_endpoint(conn, "https://example.com/")
    slot_id = await make.slot(starts_at=TOMORROW, max_bookings=6, max_units=20)
    for _ in range(3):
        await cancel(conn, await make.booking(slot_id), p_reason="rain")
    await make.booking(slot_id, p_units=3, p_metadata='{"note": "äöü", "n": 1.50}')
    await make.booking(slot_id, p_payment_method="pay_now", p_customer='{"name": "Ann", "email": "a@example.com"}')
    await insert_booking(conn, slot_id, await make_customer(conn, uuid4().hex))
    await conn.execute("UPDATE bookings SET metadata = '{\"seat\": 4}' WHERE slot_id = $1", slot_id)
    await conn.execute("UPDATE slots SET max_bookings = 3 WHERE id = $1", slot_id)
    await _live_by_rules(conn, make)
    await put_provider(conn)
    await store(conn)
    await conn.execute("DELETE FROM provider_credentials")
    await conn.execute("SELECT complete_due_bookings($1, 10, $2)", SYSTEM, TOMORROW + HOUR)


async def _live_by_rules(conn: asyncpg.Connection, make: Factory) -> None:
    resource_id = await make.resource(f"Ruled {uuid4()}")
    await put_schedule(conn, resource_id, max_bookings=1, horizon_days=2, p_now=TOMORROW - HOUR)
    for day in (10, 11, 12):
        await put_exception(conn, resource_id, (TOMORROW + day * 24 * HOUR).date(), [], p_now=TOMORROW - HOUR)
    await conn.execute("DELETE FROM schedule_exceptions WHERE date = (SELECT min(date) FROM schedule_exceptions)")
    slot_id = await conn.fetchval("SELECT id FROM slots WHERE resource_id = $1 ORDER BY starts_at LIMIT 1", resource_id)
    await make.booking(slot_id, p_now=TOMORROW - HOUR)
    for customer in ("one", "two"):
        ref = json.dumps({"ref": customer})
        await call_row(conn, "join_waitlist", p_actor=ACTOR, p_slot_id=slot_id, p_customer=ref, p_now=TOMORROW - HOUR)
