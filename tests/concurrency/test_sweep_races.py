"""The sweeps against each other and against customers: each job once, and nobody waits for a sweep or holds one up."""

import asyncio
import json
from uuid import UUID

import asyncpg
import pytest

from tests.concurrency.rivals import (
    assert_counters_equal_a_recount,
    begin,
    connections,
    held_slots,
    outcomes,
    until_waiting,
)
from tests.conftest import Connect
from tests.factories import ACTOR, HOUR, SYSTEM, TOMORROW, Factory, create_booking, make_customer

LATER = TOMORROW + 100 * HOUR
CANCEL = "SELECT * FROM cancel_booking($1, $2, $3)"


async def complete(conn: asyncpg.Connection, limit: int = 500) -> int:
    return int(await conn.fetchval("SELECT complete_due_bookings($1, $2, $3)", SYSTEM, limit, LATER))


async def expire(conn: asyncpg.Connection, limit: int = 500) -> int:
    return int(await conn.fetchval("SELECT expire_due_bookings($1, $2, $3)", SYSTEM, limit, LATER))


async def sweep_until_done(conn: asyncpg.Connection) -> int:
    total = 0
    while done := await complete(conn):
        total += done
    return total


async def rows(conn: asyncpg.Connection, statement: str, *arguments: object) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await conn.fetch(statement, *arguments)]


async def state(conn: asyncpg.Connection, booking_id: UUID) -> tuple[object, ...]:
    """The status of the booking and of its one job."""
    (row,) = await rows(
        conn, "SELECT b.status, j.status FROM bookings b JOIN jobs j ON j.booking_id = b.id WHERE b.id = $1", booking_id
    )
    return row


async def test_overlapping_sweeps_complete_two_thousand_bookings_once_each(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id, customer_id = await make.resource(), await make_customer(conn)
    for n in range(20):
        await make.slot(resource_id, max_bookings=100, starts_at=TOMORROW + n * HOUR / 60)
    await conn.execute(
        """INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status)
        SELECT s.resource_id, s.id, s.starts_at, s.ends_at, $1, 'confirmed' FROM slots s, generate_series(1, 100)""",
        customer_id,
    )

    shares = await asyncio.gather(*(sweep_until_done(rival) for rival in await connections(connect, 2)))

    # what one run held, the other may have taken for done: the next run finds it
    assert sum(shares) + await sweep_until_done(conn) == 2_000
    assert min(shares) > 0
    audited = "SELECT count(*), count(DISTINCT subject_id) FROM audit_log WHERE event = 'booking.completed'"
    assert await rows(conn, audited) == [(2_000, 2_000)]
    assert await rows(conn, "SELECT status, count(*) FROM jobs GROUP BY 1") == [("processed", 2_000)]
    assert await rows(conn, "SELECT status, version, count(*) FROM bookings GROUP BY 1, 2") == [("completed", 2, 2_000)]
    await assert_counters_equal_a_recount(conn)


async def test_a_sweep_passes_by_a_booking_that_somebody_holds(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    held, free = await make.booking(), await make.booking()
    sweeper = await connect()

    async with conn.transaction(), asyncio.timeout(10):
        await conn.execute("SELECT FROM bookings WHERE id = $1 FOR UPDATE", held)
        assert await complete(sweeper) == 1

    assert await state(conn, free) == ("completed", "processed")
    assert await state(conn, held) == ("confirmed", "pending")
    assert await complete(sweeper) == 1


async def test_a_customer_never_waits_for_a_sweep_that_passed_their_booking_by(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    booking_id = await make.booking()
    await make.booking()
    sweeper = await connect()

    async with conn.transaction(), sweeper.transaction(), asyncio.timeout(10):
        await conn.execute("SELECT FROM bookings WHERE id = $1 FOR UPDATE", booking_id)
        assert await complete(sweeper) == 1

        await conn.execute("SET LOCAL lock_timeout = '1s'")
        await conn.fetchrow(CANCEL, ACTOR, booking_id, 1)

    assert await state(conn, booking_id) == ("cancelled", "cancelled")


async def test_a_sweep_passes_by_a_booking_that_is_being_cancelled(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    booking_id = await make.booking()
    sweeper = await connect()

    async with conn.transaction():
        await conn.fetchrow(CANCEL, ACTOR, booking_id, 1)
        async with asyncio.timeout(10):
            assert await complete(sweeper) == 0

    assert await complete(sweeper) == 0
    assert await state(conn, booking_id) == ("cancelled", "cancelled")


async def test_a_cancel_that_comes_during_a_sweep_learns_that_the_booking_changed(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    booking_id = await make.booking()
    sweeper, observer = await connect(), await connect()

    async with sweeper.transaction():
        assert await complete(sweeper) == 1
        (cancelling,) = begin([conn.fetchrow(CANCEL, ACTOR, booking_id, 1)])
        await until_waiting(observer, 1)

    assert (await outcomes([cancelling]))[1] == ["SB006 version_conflict"]
    assert await state(conn, booking_id) == ("completed", "processed")


async def hold(make: Factory) -> tuple[UUID, UUID]:
    """A slot of one place, and the hold on it, over by LATER."""
    slot_id = await make.slot(starts_at=LATER + HOUR)
    return slot_id, await make.booking(slot_id, p_payment_method="pay_now")


async def test_a_newcomer_takes_the_place_of_a_hold_while_a_sweep_passes_by(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, held = await hold(make)
    sweeper = await connect()

    async with conn.transaction():
        await create_booking(conn, slot_id, p_now=LATER)
        async with asyncio.timeout(10):
            assert await expire(sweeper) == 0

    assert await expire(sweeper) == 0
    assert await state(conn, held) == ("expired", "processed")
    await assert_counters_equal_a_recount(conn)


async def test_a_newcomer_waits_for_the_sweep_that_frees_the_place(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, held = await hold(make)
    sweeper, observer = await connect(), await connect()

    async with sweeper.transaction():
        assert await expire(sweeper) == 1
        (booking,) = begin([create_booking(conn, slot_id, p_now=LATER)])
        await until_waiting(observer, 1)

    assert json.loads((await booking)["body"])["status"] == "confirmed"
    assert await state(conn, held) == ("expired", "processed")
    await assert_counters_equal_a_recount(conn)


async def test_the_owner_of_a_hold_and_the_newcomer_who_finds_it_over_never_block_each_other(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, held = await hold(make)
    newcomer, owner, observer = await connections(connect, 3)

    # the newcomer gets the slot first and then wants the hold, which the owner must not have locked before the slot
    async with held_slots(conn, slot_id):
        booking = begin([create_booking(newcomer, slot_id, p_now=LATER)])
        await until_waiting(observer, 1)
        cancelling = begin([owner.fetchrow(CANCEL, ACTOR, held, 1)])
        await until_waiting(observer, 2)

    assert len((await outcomes(booking))[0]) == 1
    assert (await outcomes(cancelling))[1] == ["SB006 version_conflict"]
    assert await state(conn, held) == ("expired", "processed")
    await assert_counters_equal_a_recount(conn)


@pytest.mark.parametrize("newcomers", [1, 4])
async def test_sweeps_and_newcomers_at_a_slot_full_of_holds_agree(
    make: Factory, conn: asyncpg.Connection, connect: Connect, newcomers: int
) -> None:
    slot_id = await make.slot(max_bookings=3, starts_at=LATER + HOUR)
    for _ in range(3):
        await make.booking(slot_id, p_payment_method="pay_now")
    sweepers, rivals = await connections(connect, 4), await connections(connect, newcomers)

    async with asyncio.timeout(20):
        sweeps = begin(expire(sweeper) for sweeper in sweepers)
        won, lost = await outcomes(begin(create_booking(rival, slot_id, p_now=LATER) for rival in rivals))
        await asyncio.gather(*sweeps)

    assert len(won) == min(newcomers, 3)
    assert lost == ["SB002 slot_full"] * (newcomers - len(won))
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE event = 'booking.expired'") == 3
    assert await conn.fetchval("SELECT count(*) FROM bookings WHERE status = 'confirmed'") == len(won)
    await assert_counters_equal_a_recount(conn)


async def test_two_runs_of_pruning_forget_each_old_key_once(conn: asyncpg.Connection, connect: Connect) -> None:
    await conn.execute(
        """INSERT INTO idempotency_keys
        SELECT 'p', 'create_booking', n::text, '', '{}', now() - interval '4 days' FROM generate_series(1, 1000) n"""
    )
    rivals = await connections(connect, 4)

    pruned = await asyncio.gather(*(rival.fetchval("SELECT prune_idempotency_keys(500)") for rival in rivals))

    left = await conn.fetchval("SELECT count(*) FROM idempotency_keys")
    assert sum(pruned) + left == 1000
