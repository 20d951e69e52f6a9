"""create_booking_safe, with lock_slot, place_booking and hold_until: no slot oversold, and a reason when refused."""

import json
from datetime import timedelta
from uuid import uuid4

import asyncpg

from tests.factories import TOMORROW, Factory, create_booking
from tests.sql.support import occupancy, refused


async def test_a_booking_takes_one_place_and_its_units(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=3, max_units=10)

    row = await create_booking(conn, slot_id, p_units=4)

    body = json.loads(row["body"])
    assert (body["status"], body["units"], body["version"]) == ("confirmed", 4, 1)
    assert await occupancy(conn, slot_id) == (1, 4)


async def test_a_full_slot_refuses_and_leaves_nothing_behind(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=1)
    await make.booking(slot_id)

    with refused("SB002", "slot_full") as refusal:
        await create_booking(conn, slot_id, p_customer='{"ref": "newcomer"}')

    assert refusal.detail["remaining_bookings"] == 0
    assert await conn.fetchval("SELECT count(*) FROM customers WHERE ref = 'newcomer'") == 0


async def test_more_units_than_are_left_are_refused_with_how_many_are(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=9, max_units=5)
    await make.booking(slot_id, p_units=3)

    with refused("SB008", "insufficient_units") as refusal:
        await create_booking(conn, slot_id, p_units=3)

    assert refusal.detail["remaining_units"] == 2


async def test_units_used_up_mean_full(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=9, max_units=5)
    await make.booking(slot_id, p_units=5)

    with refused("SB002", "slot_full"):
        await create_booking(conn, slot_id)


async def test_a_slot_that_has_begun_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=TOMORROW)

    with refused("SB004", "slot_in_past"):
        await create_booking(conn, slot_id, p_now=TOMORROW)

    await create_booking(conn, slot_id, p_now=TOMORROW - timedelta(microseconds=1))


async def test_a_legacy_slot_is_closed_to_newcomers(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot()
    await conn.execute("UPDATE slots SET is_legacy = true")

    with refused("SB003", "slot_closed"):
        await create_booking(conn, slot_id)


async def test_an_unknown_slot_is_not_found(conn: asyncpg.Connection) -> None:
    with refused("SB001", "slot_not_found"):
        await create_booking(conn, uuid4())


async def test_pay_now_holds_the_place_until_it_expires(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=1)
    now = TOMORROW - timedelta(hours=5)

    held = json.loads((await create_booking(conn, slot_id, p_payment_method="pay_now", p_now=now))["body"])
    assert held["status"] == "pending"

    with refused("SB002", "slot_full"):
        await create_booking(conn, slot_id, p_now=now + timedelta(minutes=14))
    await create_booking(conn, slot_id, p_now=now + timedelta(minutes=15))
    assert await conn.fetchval("SELECT status FROM bookings WHERE id = $1", held["id"]) == "expired"


async def test_a_returning_customer_is_one_customer(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking(p_customer='{"ref": "ann", "name": "Ann"}')
    await make.booking(p_customer='{"ref": "ann", "email": "ann@example.com"}')

    (customer,) = await conn.fetch("SELECT ref, name, email FROM customers")
    assert tuple(customer) == ("ann", "Ann", "ann@example.com")
