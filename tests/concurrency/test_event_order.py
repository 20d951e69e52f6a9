"""However transactions overlap: every event is told once, and those of one subject in the order of their commits."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.concurrency.followers import crowd
from tests.concurrency.rivals import begin, connections, until_waiting
from tests.conftest import Connect
from tests.databases import empty
from tests.factories import Factory
from tests.sql.events import Reader, reader

TOUCH = "SELECT pg_current_xact_id()"
# touches no slot, on which strangers would queue
CHANGE = "UPDATE bookings SET metadata = metadata WHERE id = $1"
WRITERS = 4
SUBJECTS = 3


async def opened(conn: asyncpg.Connection) -> asyncpg.Connection:
    """A transaction that has its number already, and has written nothing."""
    await conn.execute("BEGIN")
    await conn.execute(TOUCH)
    return conn


async def bookings(make: Factory, count: int) -> list[UUID]:
    slot_id = await make.slot(max_bookings=99)
    return [await make.booking(slot_id) for _ in range(count)]


def steps(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Which subject's which change."""
    return [(event["subject"]["id"], event["sequence"]) for event in events]


async def test_what_waited_for_another_is_told_after_it_though_its_transaction_is_older(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    (booking_id,), told = await bookings(make, 1), await reader(conn)
    older, younger, observer = await connections(connect, 3)
    await opened(older)
    await opened(younger)
    await younger.execute(CHANGE, booking_id)
    (waiting,) = begin([older.execute(CHANGE, booking_id)])
    await until_waiting(observer, 1)
    assert await told.news() == []

    await younger.execute("COMMIT")
    await waiting
    seen = await told.news()
    await older.execute("COMMIT")
    seen += await told.news()

    assert steps(seen) == [(str(booking_id), 2), (str(booking_id), 3)]


@pytest.mark.parametrize("reads_between", [True, False])
async def test_a_stranger_who_is_still_at_work_does_not_put_them_out_of_order(
    make: Factory, conn: asyncpg.Connection, connect: Connect, reads_between: bool
) -> None:
    (booking_id, other_id), told = await bookings(make, 2), await reader(conn)
    older, stranger, younger = [await opened(c) for c in await connections(connect, 3)]
    await stranger.execute(CHANGE, other_id)
    # the stranger's number lies between theirs: all below it is settled before all above it is
    await younger.execute(CHANGE, booking_id)
    await younger.execute("COMMIT")
    seen = await told.news() if reads_between else []
    await older.execute(CHANGE, booking_id)
    await older.execute("COMMIT")

    seen += await told.news()

    assert steps(seen) == [(str(booking_id), 2), (str(booking_id), 3)]
    await stranger.execute("COMMIT")
    assert steps(await told.news()) == [(str(other_id), 2)]


async def test_a_late_commit_of_an_early_transaction_is_not_missed_and_holds_nobody_up(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    (early_id, late_id), told = await bookings(make, 2), await reader(conn)
    early = await opened(await connect())
    await early.execute(CHANGE, early_id)
    for version in range(2, 5):
        await conn.execute(CHANGE, late_id)
        assert steps(await told.news()) == [(str(late_id), version)]

    await early.execute("COMMIT")

    assert steps(await told.news()) == [(str(early_id), 2)]
    assert await told.news() == []


@pytest.mark.parametrize("commits_first", [True, False])
async def test_what_commits_while_a_round_is_half_read_is_told_after_it(
    make: Factory, conn: asyncpg.Connection, connect: Connect, commits_first: bool
) -> None:
    ids, told = await bookings(make, 3), await reader(conn)
    early = await opened(await connect())
    # its events have the least numbers of all
    await early.execute(CHANGE, ids[0])
    for booking_id in (ids[1], ids[2], ids[1]):
        await conn.execute(CHANGE, booking_id)
    first = await told.page(limit=1)
    await early.execute("COMMIT")
    if commits_first:
        await conn.execute(CHANGE, ids[0])

    # somebody else, who knows the cursor alone
    rest = await Reader(conn, told.cursor).news(limit=1)

    last = [(str(ids[0]), 2), (str(ids[0]), 3)] if commits_first else [(str(ids[0]), 2)]
    assert steps(first + rest) == [(str(ids[1]), 2), (str(ids[2]), 2), (str(ids[1]), 3), *last]


async def test_what_is_written_under_a_savepoint_comes_with_its_transaction(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    (booking_id,), told = await bookings(make, 1), await reader(conn)
    writer = await opened(await connect())
    for end in ("RELEASE", "ROLLBACK TO"):
        await writer.execute("SAVEPOINT s")
        await writer.execute(CHANGE, booking_id)
        await writer.execute(f"{end} s")
    assert await told.news() == []

    await writer.execute("COMMIT")

    assert steps(await told.news()) == [(str(booking_id), 2)]


class Tale:
    """Writers with open transactions, and readers who come back with what cursor they have."""

    def __init__(self, conns: list[asyncpg.Connection]) -> None:
        self.observer, *self.writers = conns

    async def begin(self) -> None:
        for writer in self.writers:
            if writer.is_in_transaction():
                await writer.execute("ROLLBACK")
        await empty(self.observer)
        self.ids = await bookings(Factory(self.observer), SUBJECTS)
        self.versions = [1] * SUBJECTS
        self.owned: dict[int, dict[int, int]] = {}
        self.committed: set[tuple[str, int]] = set()
        self.reader = await reader(self.observer)

    def free(self, writer: int, subject: int) -> bool:
        return not any(subject in held for owner, held in self.owned.items() if owner != writer)

    async def open(self, writer: int) -> None:
        self.owned[writer] = {}
        await opened(self.writers[writer])

    async def change(self, writer: int, subject: int) -> None:
        if self.free(writer, subject):
            await self.writers[writer].execute(CHANGE, self.ids[subject])
            self.owned[writer][subject] = self.owned[writer].get(subject, 0) + 1

    async def end(self, writer: int, how: str) -> None:
        await self.writers[writer].execute(how)
        for subject, changes in self.owned.pop(writer).items():
            for _ in range(changes if how == "COMMIT" else 0):
                self.versions[subject] += 1
                self.committed.add((str(self.ids[subject]), self.versions[subject]))

    async def read(self, limit: int) -> None:
        await self.reader.page(limit)
        self.check()

    def check(self) -> None:
        told = steps(self.reader.told)
        assert len(told) == len(set(told)), "told twice"
        assert set(told) <= self.committed, "told what was not committed"
        for subject in self.ids:
            numbers = [number for name, number in told if name == str(subject)]
            assert numbers == list(range(2, len(numbers) + 2)), "out of order, or one is missing"

    async def settle(self) -> None:
        await self.reader.news(limit=2)
        self.check()
        assert set(steps(self.reader.told)) == self.committed


def tell_tales(dsn: str, how_much: settings) -> None:
    """Every interleaving that is thought of, against one server; a failure is shown as the shortest of them."""
    with asyncio.Runner() as runner:

        async def connect() -> list[asyncpg.Connection]:
            return [await asyncpg.connect(dsn, server_settings={"search_path": "holdfast"}) for _ in range(WRITERS + 1)]

        tale = Tale(runner.run(connect()))
        writers, subjects = st.integers(0, WRITERS - 1), st.integers(0, SUBJECTS - 1)

        class Play(RuleBasedStateMachine):
            @initialize()
            def begin(self) -> None:
                runner.run(tale.begin())

            @rule(writer=writers)
            def open(self, writer: int) -> None:
                if writer not in tale.owned:
                    runner.run(tale.open(writer))

            @precondition(lambda _: bool(tale.owned))
            @rule(data=st.data(), subject=subjects)
            def change(self, data: st.DataObject, subject: int) -> None:
                runner.run(tale.change(data.draw(st.sampled_from(sorted(tale.owned))), subject))

            @precondition(lambda _: bool(tale.owned))
            @rule(data=st.data(), how=st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK"]))
            def end(self, data: st.DataObject, how: str) -> None:
                runner.run(tale.end(data.draw(st.sampled_from(sorted(tale.owned))), how))

            @rule(limit=st.integers(1, 4))
            def read(self, limit: int) -> None:
                runner.run(tale.read(limit))

            def teardown(self) -> None:
                runner.run(tale.settle())

        try:
            run_state_machine_as_test(Play, settings=how_much)
        finally:
            for conn in (tale.observer, *tale.writers):
                runner.run(conn.close())


def test_no_interleaving_loses_repeats_or_reorders_an_event(dsn: str) -> None:
    how_much = settings(
        max_examples=30,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    tell_tales(dsn, how_much)


async def test_twenty_who_come_and_go_are_told_hundreds_of_changes_each_once(
    dsn: str, make: Factory, connect: Connect
) -> None:
    await crowd(dsn, make, connect, subscribers=20, changes=336, workers=2)
