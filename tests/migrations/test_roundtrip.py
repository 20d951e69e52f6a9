"""Up, down, up again: with data in it, and to the very bottom."""

import json
from typing import Any
from uuid import uuid4

import asyncpg

from migrations.freeze import history
from tests.credentials.support import put_provider, store
from tests.factories import ACTOR, HOUR, SYSTEM, TOMORROW, Factory
from tests.migrations.support import connected, contents_at, definitions_at, down, up
from tests.sql.schedules import put_exception, put_schedule
from tests.sql.support import call_row, cancel
from tests.webhooks.support import add_endpoint

ROWS = {
    table: f"SELECT coalesce(json_agg(to_jsonb(t) ORDER BY to_jsonb(t)::text), '[]')::text FROM {table} t"
    for table in (
        *("resources", "slots", "customers", "bookings", "jobs", "audit_log", "idempotency_keys", "api_keys"),
        *("schedules", "schedule_exceptions", "waitlist_entries", "payment_events"),
        *("providers", "provider_credentials", "job_queues"),
        *("webhook_endpoints", "webhook_secrets", "deliveries", "delivery_attempts"),
    )
}


async def use(conn: asyncpg.Connection) -> None:
    """Leave a trace in every table."""
    make = Factory(conn)
    await add_endpoint(conn, "https://example.com/")
    slot_id = await make.slot(starts_at=TOMORROW, max_bookings=9, max_units=20)
    await make.booking(slot_id, p_units=3, p_idempotency_key="k", p_request_hash=b"hash")
    await make.booking(slot_id, p_payment_method="pay_now", p_customer='{"name": "Ann", "email": "a@example.com"}')
    await cancel(conn, await make.booking(slot_id))
    await conn.execute("SELECT complete_due_bookings($1, 1, $2)", SYSTEM, TOMORROW + HOUR)
    await use_rules(conn, make)
    await put_provider(conn)
    await store(conn)


async def use_rules(conn: asyncpg.Connection, make: Factory) -> None:
    """The same in the tables of schedules, waitlists and payments."""
    resource_id = await make.resource(f"Ruled {uuid4()}")
    await put_schedule(conn, resource_id, max_bookings=1, horizon_days=2, p_now=TOMORROW - HOUR)
    await put_exception(conn, resource_id, TOMORROW.date(), [], p_now=TOMORROW - HOUR)
    slot_id = await conn.fetchval("SELECT id FROM slots WHERE resource_id = $1 ORDER BY starts_at LIMIT 1", resource_id)
    held = await make.booking(slot_id, p_payment_method="pay_now", p_now=TOMORROW - HOUR)
    for customer in ("one", "two"):
        await call_row(
            conn,
            "join_waitlist",
            p_actor=ACTOR,
            p_slot_id=slot_id,
            p_customer=json.dumps({"ref": customer}),
            p_now=TOMORROW - HOUR,
        )
    await call_row(
        conn,
        "record_payment_event",
        p_actor=SYSTEM,
        p_event_id=str(uuid4()),
        p_event_type="told",
        p_booking_id=held,
        p_payment_status="failed",
        p_now=TOMORROW - HOUR,
    )


async def rows(dsn: str) -> dict[str, Any]:
    """All rows of all tables."""
    async with connected(dsn) as conn:
        return {table: json.loads(await conn.fetchval(query)) for table, query in ROWS.items()}


async def columns(dsn: str) -> list[tuple[str, ...]]:
    """Every column, default, constraint and index, as the server describes it."""
    async with connected(dsn) as conn:
        found = await conn.fetch(
            """SELECT table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable, column_default)
            FROM information_schema.columns WHERE table_schema = 'holdfast'
            UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = 'holdfast'::regnamespace
            UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'holdfast'
            ORDER BY 1, 2"""
        )
    return [tuple(row) for row in found]


async def test_one_step_down_and_up_again_loses_nothing(dsn: str, conn: asyncpg.Connection) -> None:
    await use(conn)
    before = (await rows(dsn), await definitions_at(dsn), await columns(dsn))

    await down(dsn, "-1")
    await up(dsn)

    assert (await rows(dsn), await definitions_at(dsn), await columns(dsn)) == before
    async with connected(dsn) as fresh:
        await use_again(fresh)


async def use_again(conn: asyncpg.Connection) -> None:
    """The booking that was made before can be cancelled, and another made."""
    booking_id = await conn.fetchval("SELECT id FROM bookings WHERE status = 'pending'")
    await cancel(conn, booking_id)
    await Factory(conn).booking(await conn.fetchval("SELECT id FROM slots WHERE max_bookings = 9"))


async def test_every_step_goes_down_and_up_with_rows_in_the_tables(dsn: str, conn: asyncpg.Connection) -> None:
    await use(conn)
    before = await definitions_at(dsn), await columns(dsn)
    revisions = [script.revision for script in history().walk_revisions()]

    for revision in revisions[1:]:
        await down(dsn, revision)
    for revision in reversed(revisions[:-1]):
        await up(dsn, revision)

    assert (await definitions_at(dsn), await columns(dsn)) == before


async def test_all_the_way_down_leaves_nothing_but_alembics_own_table(dsn: str, conn: asyncpg.Connection) -> None:
    await use(conn)
    before = await definitions_at(dsn), await columns(dsn)

    await down(dsn, "base")

    assert await contents_at(dsn) == {"alembic_version", "alembic_version_pkc"}
    assert await contents_at(dsn, "public") == set()

    await up(dsn)
    assert (await definitions_at(dsn), await columns(dsn)) == before
    async with connected(dsn) as fresh:
        await use(fresh)


async def test_up_again_at_the_top_changes_nothing(dsn: str, conn: asyncpg.Connection) -> None:
    await use(conn)
    before = (await rows(dsn), await definitions_at(dsn))

    await up(dsn)

    assert (await rows(dsn), await definitions_at(dsn)) == before
