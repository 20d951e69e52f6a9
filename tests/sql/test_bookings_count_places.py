"""bookings_count_places: whoever writes, a slot counts exactly the bookings that hold a place in it."""

import random
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.factories import INSERT_BOOKING, Factory, insert_booking, make_customer
from tests.sql.support import cancel, move, occupancy, raw_booking, status_of, violates

DRIFT = """
    SELECT count(*) FROM slots s
    LEFT JOIN (
      SELECT slot_id, count(*) AS bookings, sum(units) AS units
      FROM bookings WHERE status IN ('pending', 'confirmed', 'completed', 'no_show') GROUP BY slot_id
    ) AS held ON held.slot_id = s.id
    WHERE (s.booked_bookings, s.booked_units) <> (coalesce(held.bookings, 0), coalesce(held.units, 0))
"""


async def test_a_raw_insert_is_counted(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=2)

    await raw_booking(conn, slot_id, units=3)

    assert await occupancy(conn, slot_id) == (1, 3)


async def test_a_raw_insert_into_a_full_slot_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=1)
    await make.booking(slot_id)

    with violates("slots_booked_bookings_check"):
        await raw_booking(conn, slot_id)

    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1


async def test_a_raw_insert_of_too_many_units_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=9, max_units=4)
    await make.booking(slot_id, p_units=2)

    with violates("slots_booked_units_check"):
        await raw_booking(conn, slot_id, units=3)

    assert await occupancy(conn, slot_id) == (1, 2)


async def test_one_statement_cannot_bring_in_more_rows_than_fit(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, customer_id = await make.slot(max_bookings=2), await make_customer(conn)
    three_at_once = INSERT_BOOKING.replace("FROM slots s", "FROM generate_series(1, 3), slots s")

    with violates("slots_booked_bookings_check"):
        await conn.execute(three_at_once, slot_id, customer_id, 1)

    assert await occupancy(conn, slot_id) == (0, 0)


async def test_an_insert_that_a_conflict_turns_into_nothing_counts_nothing(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(max_bookings=2)
    await raw_booking(conn, slot_id, external_id="old-1")

    await conn.execute(
        """INSERT INTO bookings (slot_id, resource_id, starts_at, ends_at, customer_id, status, external_id)
        SELECT slot_id, resource_id, starts_at, ends_at, customer_id, status, external_id FROM bookings
        ON CONFLICT (external_id) WHERE external_id IS NOT NULL DO NOTHING"""
    )

    assert await occupancy(conn, slot_id) == (1, 1)


@pytest.mark.parametrize("status", ["cancelled", "failed", "expired"])
async def test_what_holds_no_place_is_not_counted(make: Factory, conn: asyncpg.Connection, status: str) -> None:
    slot_id = await make.slot(max_bookings=1)
    await make.booking(slot_id)

    await raw_booking(conn, slot_id, status=status)

    assert await occupancy(conn, slot_id) == (1, 1)


async def test_the_counters_follow_a_cancellation(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=2)
    booking_id = await make.booking(slot_id, p_units=2)
    await make.booking(slot_id, p_units=3)

    await cancel(conn, booking_id)

    assert await occupancy(conn, slot_id) == (1, 3)


async def test_the_counters_follow_a_raw_change_of_status(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot()
    await make.booking(slot_id)

    await conn.execute("UPDATE bookings SET status = 'no_show'")
    assert await occupancy(conn, slot_id) == (1, 1)

    await conn.execute("UPDATE bookings SET metadata = '{}'")
    assert await occupancy(conn, slot_id) == (1, 1)


async def test_the_counters_follow_a_raw_change_of_units(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_units=5)
    await make.booking(slot_id, p_units=2)

    await conn.execute("UPDATE bookings SET units = 5")
    assert await occupancy(conn, slot_id) == (1, 5)

    with violates("slots_booked_units_check"):
        await conn.execute("UPDATE bookings SET units = 6")
    assert await occupancy(conn, slot_id) == (1, 5)


async def test_the_counters_follow_a_booking_to_another_slot(make: Factory, conn: asyncpg.Connection) -> None:
    old_slot, new_slot = await make.slot(), await make.slot()
    booking_id = await make.booking(old_slot, p_units=2)

    await move(conn, booking_id, new_slot)

    assert (await occupancy(conn, old_slot), await occupancy(conn, new_slot)) == ((0, 0), (1, 2))


async def test_a_booking_cannot_move_into_a_full_slot(make: Factory, conn: asyncpg.Connection) -> None:
    old_slot, full_slot = await make.slot(), await make.slot()
    booking_id = await make.booking(old_slot)
    await make.booking(full_slot)

    with violates("slots_booked_bookings_check"):
        await move(conn, booking_id, full_slot)

    assert (await occupancy(conn, old_slot), await occupancy(conn, full_slot)) == ((1, 1), (1, 1))


async def test_a_slot_cannot_shrink_below_what_is_booked(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=3, max_units=6)
    await make.booking(slot_id, p_units=3)
    await make.booking(slot_id, p_units=3)

    with violates("slots_booked_bookings_check"):
        await conn.execute("UPDATE slots SET max_bookings = 1")
    with violates("slots_booked_units_check"):
        await conn.execute("UPDATE slots SET max_units = 5")
    await conn.execute("UPDATE slots SET max_bookings = 2")


async def test_it_counts_for_a_writer_with_another_search_path(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, customer_id = await make.slot(), await make_customer(conn)
    await conn.execute("CREATE TEMP TABLE slots (id uuid, booked_bookings integer, booked_units integer)")
    insert = INSERT_BOOKING.replace("INTO bookings", "INTO holdfast.bookings").replace("slots s", "holdfast.slots s")

    await conn.execute("SET search_path TO pg_temp, public")
    await conn.execute(insert, slot_id, customer_id, 1)

    await conn.execute("SET search_path TO holdfast, pg_temp")
    assert await occupancy(conn, slot_id) == (1, 1)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_after_any_mix_of_writes_the_counters_are_exact(
    make: Factory, conn: asyncpg.Connection, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    slots = [await make.slot(max_bookings=3, max_units=5) for _ in range(3)]
    customer_id = await make_customer(conn)
    bookings = [await insert_booking(conn, slot_id, customer_id) for slot_id in slots]

    async def insert() -> None:
        bookings.append(await insert_booking(conn, dice.choice(slots), customer_id, dice.randint(1, 3)))

    async def change_status() -> None:
        booking_id = dice.choice(bookings)
        reachable = await conn.fetch(
            "SELECT to_status FROM booking_transitions WHERE from_status = $1 ORDER BY 1",
            await status_of(conn, booking_id),
        )
        if reachable:
            (status,) = dice.choice(reachable)
            await conn.execute("UPDATE bookings SET status = $2 WHERE id = $1", booking_id, status)

    async def change_units() -> None:
        await conn.execute("UPDATE bookings SET units = $2 WHERE id = $1", dice.choice(bookings), dice.randint(1, 4))

    async def change_slot() -> None:
        await move(conn, dice.choice(bookings), dice.choice(slots))

    steps: list[Callable[[], Awaitable[None]]] = [insert, change_status, change_units, change_slot]
    refusals = 0
    for _ in range(80):
        try:
            await dice.choice(steps)()
        except asyncpg.CheckViolationError:
            refusals += 1

    assert await conn.fetchval(DRIFT) == 0
    assert refusals > 0
