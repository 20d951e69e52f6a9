"""Writers around the API, on connections of their own: the database itself refuses one too many."""

import asyncio
from collections import Counter

import asyncpg

from tests.concurrency.rivals import (
    assert_counters_equal_a_recount,
    begin,
    connections,
    held_slots,
    outcomes,
    until_waiting,
)
from tests.conftest import Connect
from tests.factories import ACTOR, Factory, create_booking, insert_booking, make_customer


async def test_twenty_raw_inserts_at_seven_places_leave_seven_bookings(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, customer_id = await make.slot(max_bookings=7), await make_customer(conn)
    rivals, observer = await connections(connect, 20), await connect()

    async with held_slots(conn, slot_id):
        tasks = begin(insert_booking(rival, slot_id, customer_id) for rival in rivals)
        await until_waiting(observer, 20)
    won, lost = await outcomes(tasks)

    assert len(won) == 7
    assert lost == ["23514 slots_booked_bookings_check"] * 13
    await assert_counters_equal_a_recount(conn)


async def test_twenty_raw_inserts_of_two_units_at_seven_leave_six_units(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, customer_id = await make.slot(max_bookings=1000, max_units=7), await make_customer(conn)
    rivals, observer = await connections(connect, 20), await connect()

    async with held_slots(conn, slot_id):
        tasks = begin(insert_booking(rival, slot_id, customer_id, units=2) for rival in rivals)
        await until_waiting(observer, 20)
    won, lost = await outcomes(tasks)

    assert len(won) == 3
    assert lost == ["23514 slots_booked_units_check"] * 17
    await assert_counters_equal_a_recount(conn)


async def test_the_last_place_goes_to_one_of_the_api_and_raw_writers(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, customer_id = await make.slot(max_bookings=1), await make_customer(conn)
    rivals, observer = await connections(connect, 12), await connect()

    async with held_slots(conn, slot_id):
        tasks = begin(
            create_booking(rival, slot_id) if n % 2 else insert_booking(rival, slot_id, customer_id)
            for n, rival in enumerate(rivals)
        )
        await until_waiting(observer, 12)
    won, lost = await outcomes(tasks)

    assert len(won) == 1
    assert len(lost) == 11
    assert set(lost) <= {"23514 slots_booked_bookings_check", "SB002 slot_full"}
    await assert_counters_equal_a_recount(conn)


async def test_a_place_is_not_taken_by_a_writer_who_rolls_back(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, customer_id = await make.slot(max_bookings=1), await make_customer(conn)
    rival, observer = await connect(), await connect()

    transaction = conn.transaction()
    await transaction.start()
    await insert_booking(conn, slot_id, customer_id)
    waiting = asyncio.ensure_future(create_booking(rival, slot_id))
    await until_waiting(observer, 1)
    await transaction.rollback()

    assert (await waiting)["replayed"] is False
    await assert_counters_equal_a_recount(conn)


async def test_twenty_first_bookings_of_one_customer_make_one_customer(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_ids = [await make.slot() for _ in range(20)]
    rivals, observer = await connections(connect, 20), await connect()

    # everyone waits for a transaction that is about to make the same customer, and then does not
    transaction = conn.transaction()
    await transaction.start()
    await make_customer(conn, "newcomer")
    tasks = begin(
        create_booking(rival, slot_id, p_customer='{"ref": "newcomer", "name": "New"}')
        for rival, slot_id in zip(rivals, slot_ids, strict=True)
    )
    await until_waiting(observer, 20)
    await transaction.rollback()
    won, lost = await outcomes(tasks)

    assert (len(won), lost) == (20, [])
    assert await conn.fetchval("SELECT count(*) FROM customers") == 1
    assert await conn.fetchval("SELECT count(DISTINCT customer_id) FROM bookings") == 1


CANCEL = "SELECT * FROM cancel_booking($1, $2, $3)"


async def test_of_two_cancels_of_one_version_one_wins(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id = await make.slot()
    booking_id = await make.booking(slot_id)
    rivals, observer = await connections(connect, 2), await connect()

    async with held_slots(conn, slot_id):
        tasks = begin(rival.fetchrow(CANCEL, ACTOR, booking_id, 1) for rival in rivals)
        await until_waiting(observer, 2)
    won, lost = await outcomes(tasks)

    assert len(won) == 1
    assert lost == ["SB006 version_conflict"]
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE event = 'booking.cancelled'") == 1
    await assert_counters_equal_a_recount(conn)


async def test_places_that_are_freed_and_taken_at_once_are_never_taken_twice(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id = await make.slot(max_bookings=5)
    booked = [await make.booking(slot_id) for _ in range(5)]
    rivals, observer = await connections(connect, 20), await connect()

    async with held_slots(conn, slot_id):
        tasks = begin(
            rival.fetchrow(CANCEL, ACTOR, booked[n], 1) if n < 5 else create_booking(rival, slot_id)
            for n, rival in enumerate(rivals)
        )
        await until_waiting(observer, 20)
    _, lost = await outcomes(tasks)

    assert set(Counter(lost)) <= {"SB002 slot_full"}
    await assert_counters_equal_a_recount(conn)
