"""complete_due_bookings: what is over becomes completed, once, and nobody waits for it."""

from datetime import timedelta
from typing import Any

import asyncpg

from tests.conftest import Connect
from tests.factories import SYSTEM, TOMORROW, Factory
from tests.sql.support import TICK, call_value, cancel, jobs_of, occupancy, one, status_of, without_indexes

END = TOMORROW + timedelta(hours=1)
LATER = TOMORROW + timedelta(days=2)


async def complete(conn: asyncpg.Connection, **overrides: Any) -> int:
    arguments = {"p_actor": SYSTEM, "p_limit": 100, "p_now": LATER} | overrides
    return int(await call_value(conn, "complete_due_bookings", **arguments))


async def test_a_booking_completes_at_the_instant_it_ends(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(await make.slot(starts_at=TOMORROW))

    assert await complete(conn, p_now=END - TICK) == 0
    assert await status_of(conn, booking_id) == "confirmed"
    assert await complete(conn, p_now=END) == 1
    assert await status_of(conn, booking_id) == "completed"
    assert await jobs_of(conn, booking_id) == {"complete_booking": "processed"}


async def test_a_second_run_finds_nothing(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()

    assert [await complete(conn), await complete(conn)] == [1, 0]
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE event = 'booking.completed'") == 1


async def test_a_completed_booking_keeps_its_place(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_units=5)
    await make.booking(slot_id, p_units=3)

    await complete(conn)

    assert await occupancy(conn, slot_id) == (1, 3)


async def test_only_confirmed_bookings_complete(make: Factory, conn: asyncpg.Connection) -> None:
    cancelled, held = await make.booking(), await make.booking(p_payment_method="pay_now")
    await cancel(conn, cancelled)

    assert await complete(conn) == 0
    assert [await status_of(conn, cancelled), await status_of(conn, held)] == ["cancelled", "pending"]


async def test_a_full_batch_takes_those_that_ended_first(make: Factory, conn: asyncpg.Connection) -> None:
    late, early, middle = [
        await make.booking(await make.slot(starts_at=TOMORROW + timedelta(hours=hours))) for hours in (9, 1, 5)
    ]

    await without_indexes(conn)
    assert await complete(conn, p_limit=2) == 2

    assert [await status_of(conn, b) for b in (early, middle, late)] == ["completed", "completed", "confirmed"]


async def test_the_trail_says_that_cron_did_it_and_when(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()

    await complete(conn)

    query = "SELECT performed_by, performed_by_id FROM audit_log WHERE event = 'booking.completed'"
    assert await one(conn, query) == ("system", "cron")
    assert await conn.fetchval("SELECT updated_at FROM bookings WHERE id = $1", booking_id) == LATER


async def test_it_passes_over_a_booking_that_somebody_is_changing(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    busy, free = await make.booking(), await make.booking()
    customer = await connect()

    async with customer.transaction():
        await cancel(customer, busy)
        await conn.execute("SET lock_timeout TO '2s'")
        assert await complete(conn) == 1

    assert [await status_of(conn, busy), await status_of(conn, free)] == ["cancelled", "completed"]
    assert await complete(conn) == 0


async def test_runs_that_overlap_share_the_work(make: Factory, conn: asyncpg.Connection, connect: Connect) -> None:
    bookings = [await make.booking() for _ in range(5)]
    first, second = await connect(), await connect()
    await second.execute("SET lock_timeout TO '2s'")

    async with first.transaction():
        assert await complete(first, p_limit=3) == 3
        assert await complete(second) == 2

    assert {await status_of(conn, booking_id) for booking_id in bookings} == {"completed"}
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE event = 'booking.completed'") == 5


async def test_a_booking_moved_to_a_later_slot_waits_for_its_new_end(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(await make.slot(starts_at=TOMORROW))
    await conn.execute("UPDATE slots SET ends_at = ends_at + interval '1 hour'")

    assert await complete(conn, p_now=END) == 0
    assert await complete(conn, p_now=END + timedelta(hours=1)) == 1
    assert await status_of(conn, booking_id) == "completed"


async def test_a_job_that_is_due_too_early_completes_nothing(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(await make.slot(starts_at=TOMORROW))
    await conn.execute("UPDATE jobs SET run_at = run_at - interval '1 hour'")

    assert await complete(conn, p_now=END - TICK) == 0
    assert await status_of(conn, booking_id) == "confirmed"


async def test_a_job_whose_booking_went_elsewhere_stands_in_nobodys_way(
    make: Factory, conn: asyncpg.Connection
) -> None:
    gone, due = await make.booking(), await make.booking()
    await cancel(conn, gone)
    await conn.execute("UPDATE jobs SET status = 'pending', processed_at = NULL")

    assert await complete(conn) == 1

    assert [await status_of(conn, gone), await status_of(conn, due)] == ["cancelled", "completed"]
