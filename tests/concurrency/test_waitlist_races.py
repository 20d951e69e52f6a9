"""The line against newcomers, sweeps and its own members: a place goes to one of them, and nobody is passed by."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine
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
from tests.factories import ACTOR, HOUR, SYSTEM, TOMORROW, Factory, change_booking, create_booking
from tests.sql.support import status_of
from tests.sql.test_waitlist import assert_sound, entry_of, line

NOW = TOMORROW - 6 * HOUR
LATER = NOW + timedelta(minutes=5)
OFFER = timedelta(minutes=60)
NEWCOMER = '{"ref": "newcomer"}'

JOIN = "SELECT * FROM join_waitlist($1, $2, $3, p_now => $4)"
LEAVE = "SELECT leave_waitlist($1, $2, $3)"
ACCEPT = "SELECT * FROM accept_offer($1, $2, $3)"
EXPIRE = "SELECT expire_due_bookings($1, 100, $2)"
RAW_CANCEL = "UPDATE bookings SET status = 'cancelled', updated_at = $2 WHERE id = $1"


async def join(conn: asyncpg.Connection, slot_id: UUID, ref: str) -> UUID:
    """The id of that customer's place in line."""
    row = await conn.fetchrow(JOIN, ACTOR, slot_id, json.dumps({"ref": ref, "name": ref}), NOW)
    assert row is not None
    return UUID(str(row["entry_id"]))


async def cancel(conn: asyncpg.Connection, booking_id: UUID) -> None:
    await change_booking(conn, "cancel_booking", booking_id, 1, p_now=LATER)


async def cancel_raw(conn: asyncpg.Connection, booking_id: UUID) -> None:
    await conn.execute(RAW_CANCEL, booking_id, LATER)


async def newcomer(conn: asyncpg.Connection, slot_id: UUID) -> None:
    await create_booking(conn, slot_id, p_customer=NEWCOMER, p_now=LATER)


async def taken(make: Factory, places: int = 1) -> tuple[UUID, list[UUID]]:
    """A slot of so many places, and the bookings that have them."""
    slot_id = await make.slot(starts_at=TOMORROW, max_bookings=places)
    return slot_id, [await make.booking(slot_id, p_customer='{"ref": "owner"}', p_now=NOW) for _ in range(places)]


async def offered(make: Factory) -> tuple[UUID, UUID, UUID]:
    """A slot of one place, the place in line of ann, who is offered it, and the hold."""
    slot_id = await make.slot(starts_at=TOMORROW)
    entry_id = await join(make.conn, slot_id, "ann")
    return slot_id, entry_id, UUID((await entry_of(make.conn, entry_id))["booking_id"])


async def queue(observer: asyncpg.Connection, *attempts: Coroutine[Any, Any, Any]) -> list[Any]:
    """Attempts that wait one behind the other, the first at the head."""
    tasks: list[Any] = []
    for number, attempt in enumerate(attempts, start=1):
        tasks += begin([attempt])
        await until_waiting(observer, number)
    return tasks


Free = Callable[[asyncpg.Connection, UUID], Coroutine[Any, Any, None]]
both_orders = pytest.mark.parametrize("is_turned", [False, True], ids=["in order", "turned"])
both_writers = pytest.mark.parametrize("free", [cancel, cancel_raw], ids=["function", "raw"])


@both_orders
@both_writers
async def test_a_place_that_is_cancelled_goes_to_the_line_and_never_to_a_newcomer(
    make: Factory, conn: asyncpg.Connection, connect: Connect, free: Free, is_turned: bool
) -> None:
    slot_id, (owner,) = await taken(make)
    await join(conn, slot_id, "ann")
    canceller, rival, observer = await connections(connect, 3)

    attempts = [free(canceller, owner), newcomer(rival, slot_id)]
    async with held_slots(conn, slot_id):
        tasks = await queue(observer, *(attempts[::-1] if is_turned else attempts))
    won, lost = await outcomes(tasks)

    assert (len(won), lost) == (1, ["SB002 slot_full"])
    assert await line(conn, slot_id) == [("ann", "offered")]
    await assert_counters_equal_a_recount(conn)
    await assert_sound(conn)


async def test_twenty_newcomers_at_a_place_that_is_cancelled_all_lose_it_to_the_line(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, (owner,) = await taken(make)
    await join(conn, slot_id, "ann")
    rivals, observer = await connections(connect, 21), await connect()

    async with held_slots(conn, slot_id):
        tasks = begin(cancel(rival, owner) if n == 10 else newcomer(rival, slot_id) for n, rival in enumerate(rivals))
        await until_waiting(observer, 21)
    won, lost = await outcomes(tasks)

    assert (len(won), lost) == (1, ["SB002 slot_full"] * 20)
    assert await line(conn, slot_id) == [("ann", "offered")]
    await assert_sound(conn)


@both_writers
async def test_two_cancels_at_once_offer_a_place_to_each_of_two_who_wait(
    make: Factory, conn: asyncpg.Connection, connect: Connect, free: Free
) -> None:
    slot_id, owners = await taken(make, 2)
    entries = [await join(conn, slot_id, ref) for ref in ("ann", "ben", "cleo")]
    rivals, observer = await connections(connect, 2), await connect()

    async with held_slots(conn, slot_id):
        tasks = await queue(observer, *(free(rival, owner) for rival, owner in zip(rivals, owners, strict=True)))
    assert (await outcomes(tasks))[1] == []

    assert await line(conn, slot_id) == [("ann", "offered"), ("ben", "offered"), ("cleo", "waiting")]
    holds = [(await entry_of(conn, entry_id))["booking_id"] for entry_id in entries]
    assert len(set(holds[:2])) == 2
    await assert_counters_equal_a_recount(conn)
    await assert_sound(conn)


@both_orders
@both_writers
async def test_a_join_and_a_cancel_at_once_do_not_miss_each_other(
    make: Factory, conn: asyncpg.Connection, connect: Connect, free: Free, is_turned: bool
) -> None:
    slot_id, (owner,) = await taken(make)
    joiner, canceller, observer = await connections(connect, 3)

    attempts = [join(joiner, slot_id, "ann"), free(canceller, owner)]
    async with held_slots(conn, slot_id):
        tasks = await queue(observer, *(attempts[::-1] if is_turned else attempts))
    assert (await outcomes(tasks))[1] == []

    assert await line(conn, slot_id) == [("ann", "offered")]
    await assert_sound(conn)


async def test_a_sweep_passes_by_an_offer_that_is_being_accepted(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, entry_id, booking_id = await offered(make)
    await join(conn, slot_id, "ben")
    sweeper = await connect()

    async with conn.transaction():
        await conn.fetchrow(ACCEPT, ACTOR, entry_id, LATER)
        async with asyncio.timeout(10):
            assert await sweeper.fetchval(EXPIRE, SYSTEM, NOW + OFFER) == 0

    assert await sweeper.fetchval(EXPIRE, SYSTEM, NOW + OFFER) == 0
    assert await status_of(conn, booking_id) == "confirmed"
    assert await line(conn, slot_id) == [("ann", "accepted"), ("ben", "waiting")]
    await assert_sound(conn)


async def test_who_accepts_during_the_sweep_learns_that_the_offer_is_over(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, entry_id, booking_id = await offered(make)
    await join(conn, slot_id, "ben")
    sweeper, observer = await connections(connect, 2)

    async with sweeper.transaction():
        assert await sweeper.fetchval(EXPIRE, SYSTEM, NOW + OFFER) == 1
        # in time by the own clock, and still too late
        (accepting,) = begin([conn.fetchrow(ACCEPT, ACTOR, entry_id, LATER)])
        await until_waiting(observer, 1)

    assert (await outcomes([accepting]))[1] == ["SB007 invalid_transition"]
    assert await status_of(conn, booking_id) == "expired"
    assert await line(conn, slot_id) == [("ann", "expired"), ("ben", "offered")]
    await assert_sound(conn)


@both_orders
async def test_of_accepting_and_leaving_at_once_the_first_counts(
    make: Factory, conn: asyncpg.Connection, connect: Connect, is_turned: bool
) -> None:
    slot_id, entry_id, booking_id = await offered(make)
    rivals, observer = await connections(connect, 2), await connect()

    statements = [LEAVE, ACCEPT] if is_turned else [ACCEPT, LEAVE]
    async with held_slots(conn, slot_id):
        tasks = await queue(
            observer,
            *(rival.fetchrow(call, ACTOR, entry_id, LATER) for rival, call in zip(rivals, statements, strict=True)),
        )
    won, lost = await outcomes(tasks)

    assert (len(won), lost) == (1, ["SB007 invalid_transition"])
    assert await status_of(conn, booking_id) == ("cancelled" if is_turned else "confirmed")
    await assert_sound(conn)


@both_orders
@both_writers
async def test_who_leaves_while_a_place_comes_free_does_not_take_it_along(
    make: Factory, conn: asyncpg.Connection, connect: Connect, free: Free, is_turned: bool
) -> None:
    slot_id, (owner,) = await taken(make)
    entry_id = await join(conn, slot_id, "ann")
    await join(conn, slot_id, "ben")
    leaver, canceller, observer = await connections(connect, 3)

    attempts = [leaver.fetchrow(LEAVE, ACTOR, entry_id, LATER + timedelta(minutes=1)), free(canceller, owner)]
    async with held_slots(conn, slot_id):
        tasks = await queue(observer, *(attempts[::-1] if is_turned else attempts))
    assert (await outcomes(tasks))[1] == []

    assert await line(conn, slot_id) == [("ann", "cancelled"), ("ben", "offered")]
    await assert_counters_equal_a_recount(conn)
    await assert_sound(conn)


async def test_an_offer_that_is_left_and_cancelled_at_once_goes_to_one(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, entry_id, booking_id = await offered(make)
    for ref in ("ben", "cleo"):
        await join(conn, slot_id, ref)
    leaver, canceller, observer = await connections(connect, 3)

    async with held_slots(conn, slot_id):
        tasks = await queue(observer, leaver.fetchrow(LEAVE, ACTOR, entry_id, LATER), cancel(canceller, booking_id))
    won, lost = await outcomes(tasks)

    assert (len(won), lost) == (1, ["SB006 version_conflict"])
    assert await line(conn, slot_id) == [("ann", "cancelled"), ("ben", "offered"), ("cleo", "waiting")]
    await assert_sound(conn)


@pytest.mark.parametrize("places", [0, 1], ids=["full", "free"])
async def test_twenty_joins_of_one_new_customer_are_one_place_in_line(
    make: Factory, conn: asyncpg.Connection, connect: Connect, places: int
) -> None:
    slot_id, _ = await taken(make)
    await conn.execute("UPDATE slots SET max_bookings = max_bookings + $1", places)
    rivals, observer = await connections(connect, 20), await connect()

    async with held_slots(conn, slot_id):
        tasks = begin(join(rival, slot_id, "ann") for rival in rivals)
        await until_waiting(observer, 20)
    won, lost = await outcomes(tasks)

    assert (len(set(won)), lost) == (1, [])
    assert await line(conn, slot_id) == [("ann", "offered" if places else "waiting")]
    await assert_counters_equal_a_recount(conn)
    await assert_sound(conn)


async def test_twenty_who_join_at_once_stand_in_line_one_behind_the_other(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, _ = await taken(make)
    rivals, observer = await connections(connect, 20), await connect()

    async with held_slots(conn, slot_id):
        tasks = begin(join(rival, slot_id, f"c{n}") for n, rival in enumerate(rivals))
        await until_waiting(observer, 20)
    entries, _ = await outcomes(tasks)

    assert sorted([(await entry_of(conn, entry_id))["ahead"] for entry_id in entries]) == list(range(20))


async def test_a_line_that_is_closed_while_a_place_comes_free_does_not_hold_it_up(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, (owner,) = await taken(make)
    await join(conn, slot_id, "ann")
    closer, observer = await connections(connect, 2)

    async with closer.transaction():
        assert await closer.fetchval("SELECT close_waitlists($1, 9, $2)", SYSTEM, TOMORROW) == 1
        (freeing,) = begin([cancel(conn, owner)])
        await until_waiting(observer, 1)

    assert (await outcomes([freeing]))[1] == []
    assert await line(conn, slot_id) == [("ann", "closed")]
    await assert_sound(conn)


ROUNDS = 30
# what a rival may be told; a deadlock (40P01), a time-out or anything else is not among it
EXPECTED = {"SB002", "SB006", "SB007", "SB013"}
PICK = "SELECT id, version FROM bookings WHERE slot_id = $1 AND holds_place AND status <> 'completed' ORDER BY random()"


class Rival:
    """One customer with a mind of its own, at slots that everybody wants."""

    def __init__(self, conn: asyncpg.Connection, number: int, slot_ids: list[UUID]) -> None:
        self.conn = conn
        self.ref = f"c{number}"
        self.random = random.Random(number)  # noqa: S311 - a repeatable choice
        self.slot_ids = slot_ids
        self.entries: list[UUID] = []
        self.told: Counter[str] = Counter()

    async def run(self) -> None:
        moves = [self.join, self.join, self.book, self.cancel, self.cancel, self.settle, self.settle, self.sweep]
        for _ in range(ROUNDS):
            move = self.random.choice(moves)
            try:
                await move(self.random.choice(self.slot_ids))
                self.told["done"] += 1
            except asyncpg.PostgresError as error:
                self.told[error.sqlstate or ""] += 1

    async def join(self, slot_id: UUID) -> None:
        self.entries.append(await join(self.conn, slot_id, self.ref))

    async def book(self, slot_id: UUID) -> None:
        await create_booking(self.conn, slot_id, p_customer=json.dumps({"ref": self.ref}), p_now=LATER)

    async def cancel(self, slot_id: UUID) -> None:
        if found := await self.conn.fetchrow(PICK, slot_id):
            await change_booking(self.conn, "cancel_booking", found["id"], found["version"], p_now=LATER)

    async def settle(self, _slot_id: UUID) -> None:
        if self.entries:
            call = self.random.choice([ACCEPT, LEAVE])
            await self.conn.fetchrow(call, ACTOR, self.random.choice(self.entries), LATER)

    async def sweep(self, _slot_id: UUID) -> None:
        # for the sweep it is later, so that offers of the others are over
        await self.conn.fetchval(EXPIRE, SYSTEM, LATER + OFFER)


async def test_twenty_rivals_who_join_and_cancel_are_each_offered_a_place_once(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_ids = [(await taken(make, places))[0] for places in (1, 2, 3)]
    rivals = [Rival(rival, n, slot_ids) for n, rival in enumerate(await connections(connect, 20))]

    async with asyncio.timeout(60):
        await asyncio.gather(*(rival.run() for rival in rivals))

    told = sum((rival.told for rival in rivals), Counter[str]())
    assert told.total() == 20 * ROUNDS
    assert told.keys() <= EXPECTED | {"done"}, told
    offers = await conn.fetch(
        "SELECT subject_id, count(*) FROM audit_log WHERE event = 'waitlist_entry.offered' GROUP BY 1"
    )
    assert len(offers) > ROUNDS
    assert {count for _, count in offers} == {1}
    shared = "SELECT booking_id FROM waitlist_entries GROUP BY 1 HAVING booking_id IS NOT NULL AND count(*) > 1"
    assert await conn.fetch(shared) == []
    await assert_counters_equal_a_recount(conn)
    await assert_sound(conn)
