"""An opening under siege: who prebooked first goes first, whoever else is there, however many run it."""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.concurrency.rivals import (
    PATIENCE_SECONDS,
    assert_counters_equal_a_recount,
    begin,
    connections,
    held_slots,
    outcomes,
    until_waiting,
)
from tests.concurrency.turns import held_rules, in_turn, told
from tests.conftest import Connect
from tests.databases import empty
from tests.factories import ACTOR, HOUR, change_booking, create_booking
from tests.sql.prebookings import (
    EARLIER,
    ELEVEN,
    OPENS,
    RULES,
    TEN,
    create,
    give_up,
    make_pitch,
    prebook,
    read,
    read_all,
    run,
    slot_of,
    targets,
)
from tests.sql.schedules import put_schedule
from tests.sql.support import TICK, at, call_json, call_row

CROWD, PLACES = 1000, 50
SECOND = timedelta(seconds=1)
# whether somebody is ahead, and whether it is open
TOO_SOON, NOT_THEIR_TURN = "not_open_yet False, False", "not_open_yet True, True"
STATUSES = "SELECT status, count(*) FROM prebookings GROUP BY status"
WON = "SELECT status = 'succeeded' AS won FROM prebookings ORDER BY place_in_line"


async def prebook_many(conn: asyncpg.Connection, pitch: UUID, count: int, *times: str) -> None:
    """So many customers, one after the other, as they came. The load of a test, in one statement."""
    await conn.execute(
        """SELECT create_prebooking($1, $2, NULL, $3, jsonb_build_object('ref', 'c' || n), p_now => $4)
        FROM generate_series(1, $5::integer) n""",
        ACTOR,
        pitch,
        targets(*times),
        EARLIER,
        count,
    )


async def run_to_the_end(conn: asyncpg.Connection, pitch: UUID, limit: int, now: datetime = OPENS) -> None:
    """What the handler of run_openings does."""
    while (await run(conn, pitch, limit=limit, now=now))[2]:
        pass


class Newcomer:
    """Tries everything that takes a place, again and again; before the opening, at it, and after it."""

    def __init__(self, conn: asyncpg.Connection, name: str, slot_id: UUID, elsewhere: UUID) -> None:
        self.conn = conn
        self.name = name
        self.slot_id = slot_id
        self.elsewhere = elsewhere
        self.answers: Counter[str] = Counter()

    async def besiege(self, opened: asyncio.Event, is_over: asyncio.Event) -> None:
        """Return once more has been tried after it is over."""
        tries = 0
        is_last = False
        while not is_last:
            is_last = is_over.is_set()
            now = OPENS + SECOND if opened.is_set() else OPENS - TICK
            for attempt in (self._book, self._batch, self._move, self._join):
                tries += 1
                await self._note(attempt(f'{{"ref": "{self.name}-{tries}"}}', now), now)

    async def _note(self, attempt: Coroutine[Any, Any, Any], now: datetime) -> None:
        try:
            await attempt
            answer = "got in"
        except asyncpg.PostgresError as error:
            if not (error.sqlstate or "").startswith("SB"):
                raise
            is_owed = json.loads(error.detail or "{}").get("prebookings_ahead", 0) > 0
            answer = f"{error.args[0]} {is_owed}, {now >= OPENS}" if error.sqlstate == "SB011" else str(error.args[0])
        self.answers[answer] += 1

    async def _book(self, customer: str, now: datetime) -> None:
        await create_booking(self.conn, self.slot_id, p_customer=customer, p_now=now)

    async def _batch(self, customer: str, now: datetime) -> None:
        items = json.dumps([{"slot_id": str(self.slot_id), "units": 1, "metadata": {}}])
        await call_row(self.conn, "create_bookings_safe", p_actor=ACTOR, p_items=items, p_customer=customer, p_now=now)

    async def _move(self, customer: str, now: datetime) -> None:
        # their own place elsewhere, which has room for all
        booking = await create_booking(self.conn, self.elsewhere, p_customer=customer, p_now=OPENS)
        await change_booking(
            self.conn, "reschedule_booking", booking["booking_id"], 1, p_slot_id=self.slot_id, p_now=now
        )

    async def _join(self, customer: str, now: datetime) -> None:
        if now >= OPENS:
            await call_row(
                self.conn, "join_waitlist", p_actor=ACTOR, p_slot_id=self.slot_id, p_customer=customer, p_now=now
            )


async def until_all_were_told(siege: list[Any], rivals: list[Newcomer], answer: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not all(rival.answers[answer] for rival in rivals):
            # who has failed says why
            for task in (await asyncio.wait(siege, timeout=0.01))[0]:
                task.result()


@pytest.mark.parametrize("runners", [1, 2, 3])
async def test_the_first_fifty_of_a_thousand_win_though_newcomers_storm_the_opening(
    conn: asyncpg.Connection, connect: Connect, runners: int
) -> None:
    pitch = await make_pitch(conn, max_bookings=PLACES)
    slot_id, elsewhere = await slot_of(conn, pitch), await slot_of(conn, pitch, ELEVEN)
    await conn.execute("UPDATE slots SET max_bookings = 100000 WHERE id = $1", elsewhere)
    await prebook_many(conn, pitch, CROWD, TEN)
    rivals = [Newcomer(rival, f"n{n}", slot_id, elsewhere) for n, rival in enumerate(await connections(connect, 8))]
    opened, is_over = asyncio.Event(), asyncio.Event()

    siege = begin(rival.besiege(opened, is_over) for rival in rivals)
    await until_all_were_told(siege, rivals, TOO_SOON)
    opened.set()
    await until_all_were_told(siege, rivals, NOT_THEIR_TURN)
    await asyncio.gather(*(run_to_the_end(each, pitch, 100) for each in await connections(connect, runners)))
    is_over.set()
    await asyncio.gather(*siege)

    won = [row["won"] for row in await conn.fetch(WON)]
    assert won == [True] * PLACES + [False] * (CROWD - PLACES)
    answers = sum((rival.answers for rival in rivals), Counter[str]())
    # those who get in stand in the line, behind nobody who had a right to the place
    taken = "SELECT count(*) FROM bookings WHERE slot_id = $1 AND metadata ->> 'prebooking_id' IS NULL"
    assert await conn.fetchval(taken, slot_id) == 0, answers
    assert answers.keys() <= {"got in", TOO_SOON, NOT_THEIR_TURN, "slot_full"}
    assert answers["slot_full"] > 0
    await assert_counters_equal_a_recount(conn)
    assert (await call_json(conn, "check_invariants"))["violations"] == []


async def test_a_thousand_fill_several_slots_in_the_order_of_their_wishes(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    pitch = await make_pitch(conn, max_bookings=20)
    times = [f"2030-06-10T{hour}:00" for hour in ("09", "10", "11")]
    await prebook_many(conn, pitch, 300, *times)

    await asyncio.gather(*(run_to_the_end(each, pitch, 7) for each in await connections(connect, 3)))

    got = await conn.fetch("SELECT booked_choice FROM prebookings ORDER BY place_in_line")
    assert [row["booked_choice"] for row in got] == [1] * 20 + [2] * 20 + [3] * 20 + [None] * 240
    await assert_counters_equal_a_recount(conn)


async def test_newcomers_who_wait_for_the_slot_when_the_opening_is_run_are_told_that_it_is_full(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    pitch = await make_pitch(conn, max_bookings=2)
    slot_id = await slot_of(conn, pitch)
    made = [await prebook(conn, pitch, ref) for ref in ("ann", "ben", "cleo")]
    rivals, runner, observer = await connections(connect, 4), await connect(), await connect()

    async with held_slots(conn, slot_id):
        tasks = await in_turn(
            observer,
            create_booking(rivals[0], slot_id, p_customer='{"ref": "before"}', p_now=OPENS),
            run(runner, pitch),
            *(create_booking(rival, slot_id, p_customer='{"ref": "after"}', p_now=OPENS) for rival in rivals[1:]),
        )

    assert await told(tasks) == ["SB011 not_open_yet", "done", *["SB002 slot_full"] * 3]
    assert [each["status"] for each in await read_all(conn, made)] == ["succeeded", "succeeded", "failed"]


async def test_a_newcomer_gets_what_prebookings_leave_over_while_they_wait(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    pitch = await make_pitch(conn, max_bookings=5)
    slot_id = await slot_of(conn, pitch)
    for ref in ("ann", "ben"):
        await prebook(conn, pitch, ref)
    rivals, observer = await connections(connect, 8), await connect()

    async with held_slots(conn, slot_id):
        tasks = begin(
            create_booking(rival, slot_id, p_customer=f'{{"ref": "n{n}"}}', p_now=OPENS)
            for n, rival in enumerate(rivals)
        )
        await until_waiting(observer, 8)
    won, lost = await outcomes(tasks)

    assert (len(won), lost) == (3, ["SB011 not_open_yet"] * 5)
    assert await run(conn, pitch) == (2, 0, 0)


@pytest.mark.parametrize("is_first", [True, False], ids=["cancel first", "opening first"])
async def test_a_cancel_that_meets_the_opening_is_before_it_or_too_late(
    conn: asyncpg.Connection, connect: Connect, is_first: bool
) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    first, second = [await prebook(conn, pitch, ref) for ref in ("ann", "ben")]
    canceller, runner, observer = await connections(connect, 3)

    attempts = [give_up(canceller, first, p_now=OPENS), run(runner, pitch)]
    async with conn.transaction():
        await conn.execute("SELECT FROM prebookings WHERE id = $1 FOR UPDATE", UUID(first["id"]))
        tasks = await in_turn(observer, *(attempts if is_first else attempts[::-1]))

    answers = await told(tasks)
    ended = [each["status"] for each in await read_all(conn, (first, second))]
    assert (answers, ended) == (
        (["done", "done"], ["cancelled", "succeeded"])
        if is_first
        else (["done", "SB007 invalid_transition"], ["succeeded", "failed"])
    )
    await assert_counters_equal_a_recount(conn)


@pytest.mark.parametrize("is_first", [True, False], ids=["rules first", "opening first"])
async def test_rules_that_change_as_it_opens_hold_before_it_or_after_it(
    conn: asyncpg.Connection, connect: Connect, is_first: bool
) -> None:
    pitch = await make_pitch(conn, max_bookings=1)
    made = await prebook(conn, pitch, "ann")
    changer, runner, observer = await connections(connect, 3)

    later = RULES | {"max_bookings": 1, "opens_at_local": "09:00"}
    attempts = [put_schedule(changer, pitch, p_now=OPENS, **later), run(runner, pitch)]
    async with held_rules(conn, pitch):
        tasks = await in_turn(observer, *(attempts if is_first else attempts[::-1]))
    assert await told(tasks) == ["done", "done"]

    ended = await read(conn, made)
    if is_first:
        assert (ended["status"], at(ended["opens_at"])) == ("pending", OPENS + HOUR)
        assert await run(conn, pitch, now=OPENS + HOUR) == (1, 0, 0)
    else:
        assert (ended["status"], at(ended["opens_at"])) == ("succeeded", OPENS)
    await assert_counters_equal_a_recount(conn)


async def test_rules_and_openings_at_once_end_in_no_deadlock(conn: asyncpg.Connection, connect: Connect) -> None:
    pitch = await make_pitch(conn, max_bookings=3, opening_policy="lottery")
    await prebook_many(conn, pitch, 60, TEN, ELEVEN)

    async def change(changer: asyncpg.Connection) -> None:
        for n in range(10):
            local = ("08:00", "08:30")[n % 2]
            await put_schedule(changer, pitch, p_now=OPENS, **RULES | {"max_bookings": 3, "opens_at_local": local})

    runners = await connections(connect, 3)
    await asyncio.gather(change(await connect()), *(run_to_the_end(each, pitch, 5) for each in runners))
    await run_to_the_end(conn, pitch, 100, OPENS + HOUR)

    assert {row["status"]: row["count"] for row in await conn.fetch(STATUSES)} == {"succeeded": 6, "failed": 54}
    await assert_counters_equal_a_recount(conn)


async def test_the_same_request_from_many_sides_is_one_prebooking(conn: asyncpg.Connection, connect: Connect) -> None:
    pitch = await make_pitch(conn)
    key = {"p_idempotency_key": "k", "p_request_hash": b"h"}

    rows = await asyncio.gather(*(create(rival, pitch, "ann", **key) for rival in await connections(connect, 8)))
    _, lost = await outcomes(begin(create(rival, pitch, "ann") for rival in await connections(connect, 4)))

    assert sorted(row["replayed"] for row in rows) == [False] + [True] * 7
    assert len({row["body"] for row in rows}) == 1
    assert lost == ["SB026 already_prebooked"] * 4


async def test_two_who_draw_at_once_draw_once(conn: asyncpg.Connection, connect: Connect) -> None:
    pitch = await make_pitch(conn, max_bookings=4, opening_policy="lottery")
    await prebook_many(conn, pitch, 40, TEN)

    await asyncio.gather(*(run_to_the_end(each, pitch, 3) for each in await connections(connect, 3)))

    (draw,) = await conn.fetch("SELECT seed, entries FROM lottery_draws")
    assert draw["entries"] == 40
    by_lot = await conn.fetch("SELECT status FROM prebookings ORDER BY lot_of($1, id)", draw["seed"])
    assert [row["status"] for row in by_lot] == ["succeeded"] * 4 + ["failed"] * 36


# Any play


class Wish(NamedTuple):
    """What one customer prebooks, and whether they try to give it up as it opens."""

    choices: list[int]
    units: int
    is_given_up: bool


HOURS = ("09", "10", "11")
WISHES = st.lists(
    st.builds(
        Wish,
        st.lists(st.integers(0, len(HOURS) - 1), min_size=1, max_size=3, unique=True),
        st.integers(1, 3),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
# a choice that somebody did not get though those before them had left room in it, whoever else had come
OVERTAKEN = """
    SELECT p.place_in_line, choice.number
    FROM prebookings p
    CROSS JOIN LATERAL generate_series(1, COALESCE(p.booked_choice - 1, cardinality(p.starts_at))) AS choice (number)
    JOIN slots s ON s.resource_id = p.resource_id AND s.starts_at = p.starts_at[choice.number]
    CROSS JOIN LATERAL (
      SELECT count(*) AS bookings, COALESCE(sum(b.units), 0) AS units
      FROM bookings b
      JOIN prebookings e ON e.booking_id = b.id
      WHERE b.slot_id = s.id AND e.place_in_line < p.place_in_line
    ) AS before
    WHERE p.status IN ('succeeded', 'failed')
      AND before.bookings < s.max_bookings AND before.units + p.units <= s.max_units
"""


@pytest.fixture
async def rivals(connect: Connect) -> list[asyncpg.Connection]:
    return await connections(connect, 5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WISHES, st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
async def test_whatever_is_wished_nobody_is_overtaken_and_no_slot_oversold(
    conn: asyncpg.Connection,
    rivals: list[asyncpg.Connection],
    wishes: list[Wish],
    places: int,
    units: int,
    limit: int,
) -> None:
    await empty(conn)
    pitch = await make_pitch(conn, max_bookings=places, max_units=units)
    made = [
        await prebook(
            conn, pitch, f"c{n}", *(f"2030-06-10T{HOURS[choice]}:00" for choice in wish.choices), p_units=wish.units
        )
        for n, wish in enumerate(wishes)
    ]
    slots = [await slot_of(conn, pitch, f"2030-06-10T{hour}:00") for hour in HOURS]

    async def cancel(rival: asyncpg.Connection) -> None:
        for wish, prebooking in zip(wishes, made, strict=True):
            if wish.is_given_up:
                await outcomes(begin([give_up(rival, prebooking, p_now=OPENS)]))

    async def come(rival: asyncpg.Connection, name: str) -> list[str]:
        tries = [create_booking(rival, slot_id, p_customer=f'{{"ref": "{name}"}}', p_now=OPENS) for slot_id in slots]
        return [refusal for each in tries for refusal in (await outcomes(begin([each])))[1]]

    tasks = [*begin([cancel(rivals[0])]), *begin(run_to_the_end(rival, pitch, limit) for rival in rivals[1:3])]
    refusals = await asyncio.gather(*(come(rival, f"n{n}") for n, rival in enumerate(rivals[3:])))
    await asyncio.gather(*tasks)

    told_newcomers = {refusal for each in refusals for refusal in each}
    assert told_newcomers <= {"SB011 not_open_yet", "SB002 slot_full", "SB008 insufficient_units"}
    assert await conn.fetch(OVERTAKEN) == []
    assert await conn.fetchval("SELECT count(*) FROM prebookings WHERE status = 'pending'") == 0
    await assert_counters_equal_a_recount(conn)
    assert (await call_json(conn, "check_invariants"))["violations"] == []
