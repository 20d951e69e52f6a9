"""lock_booking: the slot first, then the booking, so that writers queue up instead of deadlocking."""

import asyncio

import asyncpg

from tests.concurrency.rivals import until_waiting
from tests.conftest import Connect
from tests.factories import Factory
from tests.sql.support import NOBODY, call, move, refused


async def test_an_unknown_booking_is_not_found(conn: asyncpg.Connection) -> None:
    with refused("SB005", "booking_not_found"):
        await call(conn, "lock_booking", p_booking_id=NOBODY)


async def test_it_waits_for_the_slot_before_it_takes_the_booking(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id = await make.slot()
    booking_id = await make.booking(slot_id)
    holder, rival = await connect(), await connect()

    async with holder.transaction():
        await holder.execute("SELECT FROM slots WHERE id = $1 FOR NO KEY UPDATE", slot_id)
        waiting = asyncio.create_task(call(rival, "lock_booking", p_booking_id=booking_id))
        await until_waiting(conn, 1)
        await conn.execute("SELECT FROM bookings WHERE id = $1 FOR NO KEY UPDATE NOWAIT", booking_id)

    assert (await waiting)[0]["id"] == booking_id


async def test_a_booking_that_moved_meanwhile_is_a_version_conflict(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id = await make.resource()
    slot_id, other_id = await make.slot(resource_id), await make.slot(resource_id)
    booking_id = await make.booking(slot_id)
    mover, rival = await connect(), await connect()

    async with mover.transaction():
        await mover.execute("SELECT FROM slots ORDER BY id FOR NO KEY UPDATE")
        await move(mover, booking_id, other_id)
        waiting = asyncio.create_task(call(rival, "lock_booking", p_booking_id=booking_id))
        await until_waiting(conn, 1)

    with refused("SB006", "version_conflict") as refusal:
        await waiting
    assert refusal.detail["current_version"] == 2
