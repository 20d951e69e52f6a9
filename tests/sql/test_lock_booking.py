"""lock_booking: the slot first, then the booking, so that writers queue up instead of deadlocking."""

import asyncio
import json
from uuid import UUID

import asyncpg
import pytest

from tests.concurrency.rivals import until_waiting
from tests.conftest import Connect
from tests.factories import ACTOR, Factory
from tests.sql.support import NOBODY, call, move, refused


async def test_an_unknown_booking_is_not_found(conn: asyncpg.Connection) -> None:
    with refused("SB005", "booking_not_found"):
        await call(conn, "lock_booking", p_actor=ACTOR, p_booking_id=NOBODY)


async def test_it_waits_for_the_slot_before_it_takes_the_booking(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id = await make.slot()
    booking_id = await make.booking(slot_id)
    holder, rival = await connect(), await connect()

    async with holder.transaction():
        await holder.execute("SELECT FROM slots WHERE id = $1 FOR NO KEY UPDATE", slot_id)
        waiting = asyncio.create_task(call(rival, "lock_booking", p_actor=ACTOR, p_booking_id=booking_id))
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
        waiting = asyncio.create_task(call(rival, "lock_booking", p_actor=ACTOR, p_booking_id=booking_id))
        await until_waiting(conn, 1)

    with refused("SB006", "version_conflict") as refusal:
        await waiting
    assert refusal.detail["current_version"] == 2


async def is_free(conn: asyncpg.Connection, slot_id: UUID) -> bool:
    try:
        await conn.execute("SELECT FROM slots WHERE id = $1 FOR NO KEY UPDATE NOWAIT", slot_id)
    except asyncpg.LockNotAvailableError:
        return False
    return True


async def test_the_slot_it_is_to_go_to_is_locked_as_well_and_no_other(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    here, there, elsewhere = [await make.slot() for _ in range(3)]
    booking_id = await make.booking(here)
    holder = await connect()

    async with holder.transaction():
        await call(holder, "lock_booking", p_actor=ACTOR, p_booking_id=booking_id, p_next_slot_id=there)

        assert [await is_free(conn, slot_id) for slot_id in (here, there, elsewhere)] == [False, False, True]


@pytest.mark.parametrize("goes_up", [True, False])
async def test_both_slots_are_locked_by_id_whichever_the_booking_is_in(
    make: Factory, conn: asyncpg.Connection, connect: Connect, goes_up: bool
) -> None:
    low, high = sorted([await make.slot() for _ in range(2)])
    here, there = (low, high) if goes_up else (high, low)
    booking_id = await make.booking(here)
    holder, rival = await connect(), await connect()

    async with holder.transaction():
        await holder.execute("SELECT FROM slots WHERE id = $1 FOR NO KEY UPDATE", low)
        waiting = asyncio.create_task(
            call(rival, "lock_booking", p_actor=ACTOR, p_booking_id=booking_id, p_next_slot_id=there)
        )
        await until_waiting(conn, 1)
        assert await is_free(conn, high)

    assert (await waiting)[0]["id"] == booking_id


def token_of(ref: str) -> str:
    return json.dumps({"type": "customer", "id": f"customer:{ref}", "customer_ref": ref})


async def test_a_customers_token_locks_own_bookings(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(p_customer='{"ref": "ann"}')

    (row,) = await call(conn, "lock_booking", p_actor=token_of("ann"), p_booking_id=booking_id)

    assert row["id"] == booking_id


@pytest.mark.parametrize("customer", [{"ref": "ann"}, {"ref": "bo"}, {"name": "bob"}], ids=str)
async def test_to_a_customers_token_nobody_elses_booking_exists(
    make: Factory, conn: asyncpg.Connection, customer: dict[str, str]
) -> None:
    booking_id = await make.booking(p_customer=json.dumps(customer))

    with refused("SB005", "booking_not_found") as refusal:
        await call(conn, "lock_booking", p_actor=token_of("bob"), p_booking_id=booking_id)

    assert refusal.detail == {"booking_id": str(booking_id)}
