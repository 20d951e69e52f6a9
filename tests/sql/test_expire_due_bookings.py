"""expire_due_bookings and expire_slot_holds: a hold whose time is over gives its place back, once."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from tests.conftest import Connect
from tests.factories import SYSTEM, TOMORROW, Factory
from tests.sql.support import TICK, call_value, cancel, jobs_of, occupancy, one, status_of, without_indexes
from tests.sql.test_slot_rules import make_rules

START = TOMORROW + timedelta(days=1)
HELD_AT = TOMORROW
LAPSES_AT = HELD_AT + timedelta(minutes=15)


async def expire(conn: asyncpg.Connection, **overrides: Any) -> int:
    arguments = {"p_actor": SYSTEM, "p_limit": 100, "p_now": LAPSES_AT} | overrides
    return int(await call_value(conn, "expire_due_bookings", **arguments))


async def hold(make: Factory, slot_id: UUID | None = None, **overrides: Any) -> UUID:
    arguments = {"p_payment_method": "pay_now", "p_now": HELD_AT} | overrides
    return await make.booking(slot_id or await make.slot(starts_at=START), **arguments)


async def test_a_hold_lapses_at_the_instant_it_expires(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=START, max_units=4)
    booking_id = await hold(make, slot_id, p_units=4)

    assert await expire(conn, p_now=LAPSES_AT - TICK) == 0
    assert await occupancy(conn, slot_id) == (1, 4)
    assert await expire(conn) == 1
    assert await occupancy(conn, slot_id) == (0, 0)
    assert await status_of(conn, booking_id) == "expired"
    assert await jobs_of(conn, booking_id) == {"expire_booking": "processed"}
    assert await expire(conn) == 0


async def test_the_resources_rules_say_how_long_a_hold_lasts(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make_rules(conn, resource_id, hold_minutes=2)

    booking_id = await hold(make, await make.slot(resource_id, starts_at=START))

    expires_at = await conn.fetchval("SELECT expires_at FROM bookings WHERE id = $1", booking_id)
    assert expires_at == HELD_AT + timedelta(minutes=2)


async def test_what_is_paid_for_or_to_be_paid_on_arrival_never_expires(make: Factory, conn: asyncpg.Connection) -> None:
    paid, on_arrival = await hold(make), await make.booking()
    await conn.execute("UPDATE bookings SET status = 'confirmed', payment_status = 'paid' WHERE id = $1", paid)

    assert await expire(conn, p_now=START) == 0

    assert [await status_of(conn, paid), await status_of(conn, on_arrival)] == ["confirmed", "confirmed"]


async def test_a_hold_that_was_prolonged_lapses_later(make: Factory, conn: asyncpg.Connection) -> None:
    await hold(make)
    await conn.execute("UPDATE bookings SET expires_at = expires_at + interval '5 minutes'")

    assert await expire(conn) == 0
    assert await expire(conn, p_now=LAPSES_AT + timedelta(minutes=5)) == 1


async def test_a_full_batch_takes_those_that_lapsed_first(make: Factory, conn: asyncpg.Connection) -> None:
    late, early = await hold(make, p_now=HELD_AT), await hold(make, p_now=HELD_AT - timedelta(minutes=1))

    await without_indexes(conn)
    assert await expire(conn, p_limit=1) == 1

    assert [await status_of(conn, early), await status_of(conn, late)] == ["expired", "pending"]


async def test_it_passes_over_a_slot_that_somebody_is_booking(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    busy_slot = await make.slot(starts_at=START, max_bookings=2)
    busy, free = await hold(make, busy_slot), await hold(make)
    customer = await connect()

    async with customer.transaction():
        await customer.execute("SELECT FROM slots WHERE id = $1 FOR NO KEY UPDATE", busy_slot)
        await conn.execute("SET lock_timeout TO '2s'")
        assert await expire(conn) == 1

    assert [await status_of(conn, busy), await status_of(conn, free)] == ["pending", "expired"]
    assert await expire(conn) == 1


async def test_the_trail_says_that_cron_did_it(make: Factory, conn: asyncpg.Connection) -> None:
    await hold(make)

    await expire(conn)

    query = "SELECT performed_by, performed_by_id FROM audit_log WHERE event = 'booking.expired'"
    assert await one(conn, query) == ("system", "cron")


async def test_expire_slot_holds_frees_the_lapsed_holds_of_that_slot_alone(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=3)
    lapsed, running = await hold(make, slot_id), await hold(make, slot_id, p_now=HELD_AT + TICK)
    elsewhere, confirmed = await hold(make), await make.booking(slot_id)

    assert await call_value(conn, "expire_slot_holds", p_slot_id=slot_id, p_now=LAPSES_AT) == 1

    statuses = [await status_of(conn, b) for b in (lapsed, running, elsewhere, confirmed)]
    assert statuses == ["expired", "pending", "pending", "confirmed"]
    assert await occupancy(conn, slot_id) == (2, 2)


async def test_a_job_that_is_due_too_early_expires_nothing(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await hold(make)
    await conn.execute("UPDATE jobs SET run_at = run_at - interval '1 hour'")

    assert await expire(conn, p_now=LAPSES_AT - TICK) == 0
    assert await status_of(conn, booking_id) == "pending"


async def test_a_job_whose_booking_went_elsewhere_stands_in_nobodys_way(
    make: Factory, conn: asyncpg.Connection
) -> None:
    gone, due = await hold(make), await hold(make)
    await cancel(conn, gone)
    await conn.execute("UPDATE jobs SET status = 'pending', processed_at = NULL")

    assert await expire(conn) == 1

    assert [await status_of(conn, gone), await status_of(conn, due)] == ["cancelled", "expired"]
