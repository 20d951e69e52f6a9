"""slots_guard_counters: a slot's counters are its bookings', not a writer's to set."""

import asyncpg

from tests.factories import Factory
from tests.sql.support import occupancy, refused


async def test_a_raw_update_of_a_counter_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=1)
    await make.booking(slot_id)

    for change in ("booked_bookings = 0", "booked_units = 0"):
        with refused("SB012", "change_refused"):
            await conn.execute(f"UPDATE slots SET {change}")

    assert await occupancy(conn, slot_id) == (1, 1)


async def test_a_slot_is_born_empty(make: Factory, conn: asyncpg.Connection) -> None:
    await make.slot()

    with refused("SB012", "change_refused"):
        await conn.execute(
            """INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings, booked_bookings)
            SELECT resource_id, '2031-01-01Z', '2031-01-02Z', 5, 1 FROM slots"""
        )


async def test_capacity_and_times_may_still_be_changed(make: Factory, conn: asyncpg.Connection) -> None:
    await make.slot(max_bookings=1)

    await conn.execute("UPDATE slots SET max_bookings = 5, booked_bookings = booked_bookings")
