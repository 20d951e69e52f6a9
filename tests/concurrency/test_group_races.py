"""Batches and series against each other and against single bookings: no partial ones, and no deadlock."""

import asyncio
import json
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any
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
from tests.factories import ACTOR, TOMORROW, Factory, create_booking
from tests.sql.support import call_row, occupancy

ROUNDS = 40
WEEK = timedelta(days=7)
SOLD_OUT = "SB002 slot_full"


async def slots(make: Factory, count: int = 2, **limits: Any) -> list[UUID]:
    """So many slots of one resource, a week apart, in the order of their ids and not of their starts."""
    resource_id = await make.resource()
    return sorted([await make.slot(resource_id, starts_at=TOMORROW + n * WEEK, **limits) for n in range(count)])


async def batch(conn: asyncpg.Connection, *slot_ids: UUID, **overrides: Any) -> asyncpg.Record:
    items = json.dumps([{"slot_id": str(slot_id), "units": 1, "metadata": {}} for slot_id in slot_ids])
    arguments = {"p_actor": ACTOR, "p_items": items, "p_customer": '{"ref": "ann"}'} | overrides
    return await call_row(conn, "create_bookings_safe", **arguments)


async def series(conn: asyncpg.Connection, slot_id: UUID, **overrides: Any) -> asyncpg.Record:
    arguments = {
        "p_actor": ACTOR,
        "p_slot_id": slot_id,
        "p_customer": '{"ref": "ben"}',
        "p_every_days": 7,
        "p_count": 3,
    }
    return await call_row(conn, "create_recurring_bookings", **(arguments | overrides))


async def first_of(conn: asyncpg.Connection, slot_ids: list[UUID]) -> UUID:
    """The slot that begins first."""
    return UUID(str(await conn.fetchval("SELECT id FROM slots WHERE id = ANY ($1) ORDER BY starts_at", slot_ids)))


async def queue(observer: asyncpg.Connection, *attempts: Coroutine[Any, Any, Any]) -> list[Any]:
    """Attempts that wait one behind the other, the first at the head."""
    tasks: list[Any] = []
    for number, attempt in enumerate(attempts, start=1):
        tasks += begin([attempt])
        await until_waiting(observer, number)
    return tasks


both_orders = pytest.mark.parametrize("is_turned", [False, True], ids=["in order", "turned"])


@both_orders
@pytest.mark.parametrize("contested", [0, 1], ids=["first", "second"])
async def test_of_a_batch_and_a_single_booking_at_the_last_place_one_wins_and_no_batch_is_partial(
    make: Factory, conn: asyncpg.Connection, connect: Connect, contested: int, is_turned: bool
) -> None:
    slot_ids = await slots(make)
    many, single, observer = await connections(connect, 3)

    attempts: list[Any] = [batch(many, *slot_ids), create_booking(single, slot_ids[contested])]
    async with held_slots(conn, *slot_ids):
        tasks = await queue(observer, *(attempts[::-1] if is_turned else attempts))
    won, lost = await outcomes(tasks)

    assert (len(won), lost) == (1, [SOLD_OUT])
    places = [(await occupancy(conn, slot_id))[0] for slot_id in slot_ids]
    assert places in ([1, 1], [int(n == contested) for n in range(2)])
    await assert_counters_equal_a_recount(conn)


async def test_batches_and_singles_at_once_leave_no_partial_batch(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_ids = await slots(make, 3, max_bookings=3)
    rivals, observer = await connections(connect, 20), await connect()

    async with held_slots(conn, *slot_ids):
        tasks = begin(
            create_booking(rival, slot_ids[n % 3], p_customer=f'{{"ref": "single {n}"}}')
            if n % 4 == 0
            else batch(rival, *(slot_ids if n % 2 else slot_ids[::-1]), p_customer=f'{{"ref": "batch {n}"}}')
            for n, rival in enumerate(rivals)
        )
        await until_waiting(observer, 20)
    won, lost = await outcomes(tasks)

    assert won
    assert set(lost) == {SOLD_OUT}
    made = await conn.fetch(
        """SELECT c.ref, count(*) FROM bookings b JOIN customers c ON c.id = b.customer_id GROUP BY c.ref"""
    )
    assert {count for ref, count in made if ref.startswith("batch")} <= {3}
    assert {count for ref, count in made if ref.startswith("single")} <= {1}
    assert len(made) == len(won)
    await assert_counters_equal_a_recount(conn)


async def test_a_batch_locks_its_slots_by_id_whatever_their_order_in_it(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    low, middle, high = await slots(make, 3)
    rival, observer = await connections(connect, 2)

    async with held_slots(conn, middle):
        tasks = await queue(observer, batch(rival, high, middle, low))
        free = await observer.fetch("SELECT id FROM slots FOR NO KEY UPDATE SKIP LOCKED")
        # it has the lowest, waits for the one in the middle, and has not come to the highest
        assert [row["id"] for row in free] == [high]
    assert (await outcomes(tasks))[1] == []


async def test_a_series_locks_its_slots_by_id_whatever_their_order_in_it(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    low, middle, high = await slots(make, 3)
    rival, observer = await connections(connect, 2)

    async with held_slots(conn, middle):
        tasks = await queue(observer, series(rival, await first_of(conn, [low, middle, high])))
        free = await observer.fetch("SELECT id FROM slots FOR NO KEY UPDATE SKIP LOCKED")
        assert [row["id"] for row in free] == [high]
    assert (await outcomes(tasks))[1] == []


async def test_batches_over_the_same_slots_in_opposite_order_do_not_deadlock(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    rivals = await connections(connect, 2)
    for _ in range(ROUNDS):
        slot_ids = await slots(make, 3, max_bookings=2)

        results = await asyncio.gather(batch(rivals[0], *slot_ids), batch(rivals[1], *reversed(slot_ids)))

        assert [row["replayed"] for row in results] == [False, False]
        assert [await occupancy(conn, slot_id) for slot_id in slot_ids] == [(2, 2)] * 3


async def test_of_batches_in_opposite_order_at_the_last_places_one_wins(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    rivals = await connections(connect, 2)
    for _ in range(ROUNDS):
        slot_ids = await slots(make, 3)

        won, lost = await outcomes(begin([batch(rivals[0], *slot_ids), batch(rivals[1], *reversed(slot_ids))]))

        assert (len(won), lost) == (1, [SOLD_OUT])
        assert [await occupancy(conn, slot_id) for slot_id in slot_ids] == [(1, 1)] * 3


async def test_a_series_and_a_batch_over_the_same_slots_do_not_deadlock(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    rivals = await connections(connect, 2)
    for _ in range(ROUNDS):
        slot_ids = await slots(make, 3)

        won, lost = await outcomes(
            begin([batch(rivals[0], *reversed(slot_ids)), series(rivals[1], await first_of(conn, slot_ids))])
        )

        assert (len(won), lost) == (1, [SOLD_OUT])
        assert [await occupancy(conn, slot_id) for slot_id in slot_ids] == [(1, 1)] * 3


@pytest.mark.parametrize("function", [batch, series])
async def test_twins_of_one_request_are_made_once(
    make: Factory, conn: asyncpg.Connection, connect: Connect, function: Any
) -> None:
    slot_ids = await slots(make, 3, max_bookings=20)
    rivals, observer = await connections(connect, 10), await connect()
    first = await first_of(conn, slot_ids)
    key = {"p_idempotency_key": "k", "p_request_hash": b"same"}

    async with held_slots(conn, *slot_ids):
        tasks = begin(function(rival, first, **key) for rival in rivals)
        await until_waiting(observer, 10)
    won, lost = await outcomes(tasks)

    assert lost == []
    assert sorted(row["replayed"] for row in won) == [False] + [True] * 9
    assert len({row["body"] for row in won}) == 1
    assert await conn.fetchval("SELECT count(*) FROM bookings") == (1 if function is batch else 3)


async def test_a_series_that_skips_takes_every_place_that_its_rivals_leave(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_ids = await slots(make, 3, max_bookings=2)
    first = await first_of(conn, slot_ids)
    rivals, observer = await connections(connect, 12), await connect()

    async with held_slots(conn, *slot_ids):
        skipping = begin(series(rival, first, p_on_conflict="skip") for rival in rivals[::2])
        singles = begin(create_booking(rival, slot_ids[n % 3]) for n, rival in enumerate(rivals[1::2]))
        await until_waiting(observer, 12)
    reports, refusals = await outcomes(skipping)
    booked, full = await outcomes(singles)

    assert set(refusals + full) == {SOLD_OUT}
    assert [await occupancy(conn, slot_id) for slot_id in slot_ids] == [(2, 2)] * 3
    assert sum(json.loads(row["body"])["booked"] for row in reports) + len(booked) == 6
    await assert_counters_equal_a_recount(conn)
