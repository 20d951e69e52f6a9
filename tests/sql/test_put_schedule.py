"""put_schedule, refresh_future_schedule, schedule_plan: rules become slots, and no booking is lost by it."""

from datetime import timedelta
from typing import Any

import asyncpg

from tests.factories import HOUR, Factory, insert_booking, make_customer
from tests.sql.schedules import counts, put_schedule, slots_of
from tests.sql.support import at

MONDAY = at("2030-06-03T00:00")
WEEK: dict[str, Any] = {"p_now": MONDAY, "horizon_days": 6}


async def test_rules_become_slots_up_to_the_horizon(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()

    plan = await put_schedule(conn, resource_id, **WEEK)

    assert counts(plan) == {"created": 21}
    slots = await slots_of(conn, resource_id)
    assert [start for start, *_ in slots] == [
        MONDAY + timedelta(days=day, hours=hour) for day in range(7) for hour in (9, 10, 11)
    ]


async def test_the_same_rules_again_change_nothing(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **WEEK)
    before = await conn.fetch("SELECT xmin::text, * FROM slots ORDER BY id")
    audited = await conn.fetchval("SELECT count(*) FROM audit_log")

    plan = await put_schedule(conn, resource_id, **WEEK)

    assert counts(plan) == {"kept": 21}
    assert await conn.fetch("SELECT xmin::text, * FROM slots ORDER BY id") == before
    assert await conn.fetchval("SELECT count(*) FROM audit_log") == audited


async def test_a_booking_on_a_slot_that_no_longer_fits_is_kept_and_its_time_is_not_given_again(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id, customer_id = await make.resource(), await make_customer(conn)
    await put_schedule(conn, resource_id, max_bookings=1, **WEEK)
    slot_id = await conn.fetchval("SELECT id FROM slots WHERE starts_at = $1", MONDAY + 10 * HOUR)
    booking_id = await insert_booking(conn, slot_id, customer_id)

    plan = await put_schedule(conn, resource_id, max_bookings=1, slot_minutes=45, **WEEK)

    # 9:45-10:30 and 10:30-11:15 need what the booking has
    assert counts(plan) == {"created": 26, "legacy": 1, "removed": 20, "blocked": 2}
    assert [booking["id"] for booking in plan["affected_bookings"]] == [str(booking_id)]

    plan = await put_schedule(conn, resource_id, max_bookings=1, **WEEK)
    assert counts(plan) == {"created": 20, "updated": 1, "removed": 26}
    assert plan["affected_bookings"] == []
