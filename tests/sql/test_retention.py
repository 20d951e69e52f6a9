"""Retention: what is old is forgotten, whom nothing happens with is erased, and a legal hold forbids both."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.audit.support import faults
from tests.audit.tampering import undone
from tests.concurrency.rivals import begin, until_waiting
from tests.conftest import Connect
from tests.credentials.support import put_provider, store
from tests.factories import ACTOR, SYSTEM, TOMORROW, Factory
from tests.sql.auto_syncs import make_crew, start
from tests.sql.prebookings import prebook_there
from tests.sql.support import TICK, call_json, call_row, call_value, cancel, one, refused

KEEP = timedelta(days=3 * 365)
# nothing that these tests make is later
LATER = datetime(2040, 6, 15, 12, tzinfo=UTC)
SINCE = LATER - KEEP
OLD = SINCE - timedelta(days=1)
ANN = json.dumps({"ref": "ann", "email": "ann@example.com"})


async def a_past(conn: asyncpg.Connection, make: Factory, ref: str = "ann") -> UUID:
    """The id of a customer who booked once, and cancelled."""
    booking_id = await make.booking(p_customer=json.dumps({"ref": ref, "email": f"{ref}@example.com"}))
    await cancel(conn, booking_id)
    return UUID(str(await conn.fetchval("SELECT id FROM customers WHERE ref = $1", ref)))


async def enqueue_idle(conn: asyncpg.Connection, limit: int = 2, after: timedelta = timedelta(0)) -> list[str]:
    """Whom there are jobs for that erase them, once it was looked."""
    await call_value(conn, "enqueue_idle_customers", p_limit=limit, p_keep=KEEP, p_now=LATER + after)
    rows = await conn.fetch(
        """SELECT c.ref FROM jobs j JOIN customers c ON c.id = (j.payload ->> 'customer_id')::uuid
        WHERE j.job_type = 'erase_idle_customer' AND j.queue = 'privacy' AND j.status = 'pending' ORDER BY c.id"""
    )
    return [row["ref"] for row in rows]


async def erase_idle(conn: asyncpg.Connection, customer_id: UUID, **overrides: Any) -> bool:
    """What erase_idle_customer answers."""
    arguments = {"p_actor": SYSTEM, "p_customer_id": customer_id, "p_keep": KEEP, "p_now": LATER} | overrides
    return bool(await call_value(conn, "erase_idle_customer", **arguments))


async def hold(conn: asyncpg.Connection, ref: str) -> None:
    await call_json(conn, "put_legal_hold", p_actor=ACTOR, p_customer_ref=ref, p_reason="case 7")


async def test_enqueue_idle_customers_leaves_a_few_jobs_apart_and_goes_on_where_it_ended(
    make: Factory, conn: asyncpg.Connection
) -> None:
    for ref in ("ann", "bob", "cid", "dan"):
        await a_past(conn, make, ref)
    await hold(conn, "bob")
    idle = [row[0] for row in await conn.fetch("SELECT ref FROM customers WHERE ref <> 'bob' ORDER BY id")]

    assert await enqueue_idle(conn, after=TOMORROW - LATER) == []
    await conn.execute("DELETE FROM job_runs")
    assert await enqueue_idle(conn) == idle[:2]
    first, second = [
        row["run_at"] for row in await conn.fetch("SELECT run_at FROM jobs WHERE queue = 'privacy' ORDER BY 1")
    ]
    assert second - first == timedelta(seconds=5)
    assert await enqueue_idle(conn, after=timedelta(seconds=59)) == idle[:2]
    assert await enqueue_idle(conn, after=timedelta(seconds=61)) == idle

    await conn.execute("UPDATE jobs SET status = 'cancelled', processed_at = now() WHERE queue = 'privacy'")
    # all were looked at, and are again a day later
    assert await enqueue_idle(conn, 9, after=timedelta(hours=23)) == []
    assert await enqueue_idle(conn, 9, after=timedelta(hours=25)) == idle


async def test_erase_idle_customer_erases_as_anybody_would_and_says_why(
    make: Factory, conn: asyncpg.Connection
) -> None:
    ann = await a_past(conn, make)

    assert await erase_idle(conn, ann, p_keep=timedelta(days=36500)) is False
    assert await erase_idle(conn, ann) is True
    assert await erase_idle(conn, ann) is False

    assert await conn.fetchval("SELECT ref IS NULL AND email IS NULL AND erased_at = $1 FROM customers", LATER)
    said = await one(conn, "SELECT performed_by, reason FROM audit_log WHERE event = 'customer.erased'")
    assert tuple(said) == ("system", f"nothing happened since {SINCE.date()}")
    assert await faults(conn) == []


STIRS = {
    "a booking that is to be": "UPDATE bookings SET status = 'confirmed'",
    "a booking that ended late": "UPDATE bookings SET ends_at = $1",
    "a booking that changed": "UPDATE bookings SET updated_at = $1",
    "wishes that changed": "UPDATE customers SET updated_at = $1",
    "a legal hold": "UPDATE customers SET legal_hold_since = '2030-01-01', legal_hold_reason = 'case 7'",
    "a prebooking that changed": "UPDATE prebookings SET updated_at = $1",
    "a prebooking that waits": "UPDATE prebookings SET status = 'pending', reason = NULL",
    "a place in line that changed": "UPDATE waitlist_entries SET updated_at = $1",
    "a place in line that counts": "UPDATE waitlist_entries SET status = 'waiting', booking_id = NULL",
    "a crew that was joined": "UPDATE crew_members SET joined_at = $1",
    "a crew that was left": "UPDATE crew_members SET left_at = $1",
    "a crew that changed": "UPDATE crews SET updated_at = $1",
    "an answer": "UPDATE auto_sync_participants SET updated_at = $1",
    "a question of one's own that changed": "UPDATE auto_syncs SET updated_at = $1",
    "a question that waits for answers": "UPDATE auto_syncs SET status = 'running'",
    "a message that changed": "UPDATE messages SET updated_at = $1",
    "a message on its way": "UPDATE messages SET status = 'sending', reason = NULL, sending_at = created_at",
    "credentials that were stored": "UPDATE provider_credentials SET created_at = $1",
    "a calendar feed that was made": "UPDATE calendar_feeds SET created_at = $1",
    "a calendar feed that was revoked": "UPDATE calendar_feeds SET revoked_at = $1",
}
# a life that is over, around the triggers: rows of every kind, all of them old
REST = (
    """UPDATE bookings
    SET status = 'completed', updated_at = $1, starts_at = $1::timestamptz - interval '1 h', ends_at = $1""",
    "UPDATE prebookings SET status = 'failed', reason = 'gave_up', updated_at = $1",
    "UPDATE waitlist_entries SET status = 'cancelled', updated_at = $1",
    "UPDATE crews SET updated_at = $1",
    "UPDATE crew_members SET joined_at = $1",
    "UPDATE auto_syncs SET status = 'cancelled', updated_at = $1",
    "UPDATE auto_sync_participants SET updated_at = $1",
    "UPDATE messages SET status = 'skipped', reason = 'too_late', updated_at = $1",
    "UPDATE provider_credentials SET created_at = $1",
    "UPDATE calendar_feeds SET created_at = $1",
    "UPDATE customers SET updated_at = $1",
)


async def test_is_idle_customer_sees_whatever_stirred(make: Factory, conn: asyncpg.Connection) -> None:
    await conn.execute("INSERT INTO message_channels (name, is_enabled) VALUES ('email', true)")
    slot_id = await make.slot()
    await make.booking(slot_id, p_customer=ANN)
    await call_row(conn, "join_waitlist", p_actor=ACTOR, p_slot_id=slot_id, p_customer=ANN)
    await start(conn, await make_crew(conn, "ann", organizer="ann"))
    await put_provider(conn)
    await store(conn)
    await call_json(conn, "create_calendar_feed", p_actor=ACTOR, p_customer_ref="ann", p_token_hash=bytes(32))
    await prebook_there(conn, "gametime", "ann", p_opens_at=TOMORROW, p_now=TOMORROW - timedelta(days=1))
    is_idle = "SELECT is_idle_customer(c, $1) FROM customers c WHERE c.ref = 'ann'"
    async with undone(conn):
        for statement in REST:
            assert await conn.execute(statement, OLD) != "UPDATE 0", statement
        assert await conn.fetchval(is_idle, SINCE) is True
        missed = []

        for name, statement in STIRS.items():
            step = conn.transaction()
            await step.start()
            done = await conn.execute(statement, *([SINCE] if "$1" in statement else []))
            if done == "UPDATE 0" or await conn.fetchval(is_idle, SINCE):
                missed.append(name)
            await step.rollback()

        assert missed == []


async def test_who_comes_back_while_the_erasure_waits_stays(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    ann = await a_past(conn, make)
    other = await connect()
    async with conn.transaction():
        # no booking is to come: only that something happened keeps her
        await conn.execute("UPDATE customers SET language = 'el', updated_at = $1 WHERE id = $2", LATER, ann)
        (erasure,) = begin([erase_idle(other, ann)])
        await until_waiting(conn, 1)

    with refused("SB036", "customer_active") as refusal:
        await erasure
    assert refusal.detail["since"] == SINCE.isoformat()
    assert await conn.fetchval("SELECT ref FROM customers") == "ann"


@pytest.mark.parametrize("held", [False, True])
async def test_forget_provider_answers_empties_what_is_old_and_over_but_not_under_a_legal_hold(
    conn: asyncpg.Connection, held: bool
) -> None:
    await put_provider(conn)
    made = await prebook_there(conn, "gametime", "ann", p_opens_at=TOMORROW, p_now=TOMORROW - timedelta(days=1))
    prebooking_id = UUID(made["id"])
    await conn.execute(
        """INSERT INTO prebooking_attempts (prebooking_id, choice, finding, detail, confirmation, started_at, ended_at)
        VALUES ($1, 1, 'booked', 'come at ten', 'G-1', $2, $2)""",
        *(prebooking_id, TOMORROW),
    )
    if held:
        await hold(conn, "ann")
    keep = timedelta(days=10)
    old = {"p_actor": SYSTEM, "p_limit": 10, "p_keep": keep, "p_now": TOMORROW + keep + TICK}

    assert await call_value(conn, "forget_provider_answers", **old) == 0
    await conn.execute("UPDATE prebookings SET status = 'executing'")
    await conn.execute(
        """UPDATE prebookings SET status = 'succeeded', booked_choice = 1, detail = 'come at ten', confirmation = 'G-1',
          updated_at = $1""",
        TOMORROW,
    )
    assert await call_value(conn, "forget_provider_answers", **old | {"p_now": TOMORROW + keep}) == 0
    assert await call_value(conn, "forget_provider_answers", **old | {"p_limit": 1}) == (0 if held else 1)
    assert await call_value(conn, "forget_provider_answers", **old) == (0 if held else 1)
    assert await call_value(conn, "forget_provider_answers", **old) == 0

    left = "SELECT detail IS NOT NULL, confirmation IS NOT NULL, status, booked_choice, updated_at FROM prebookings"
    assert tuple(await one(conn, left)) == (held, held, "succeeded", 1, TOMORROW)
    left = "SELECT detail IS NOT NULL, confirmation IS NOT NULL, finding FROM prebooking_attempts"
    assert tuple(await one(conn, left)) == (held, held, "booked")
    assert await faults(conn) == []
