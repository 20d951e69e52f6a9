"""Whatever happens to an auto-sync, in whatever order: after every step it stands as a few lines of Python say."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.factories import ACTOR
from tests.sql.auto_syncs import (
    DAY,
    MEMBERS,
    START,
    answer,
    assert_no_violation,
    join,
    make_crew,
    pause,
    pending,
    read,
    remind,
    start,
    step,
)
from tests.sql.support import call

MOVE = st.tuples(
    st.sampled_from(["answer", "answer", "leave", "join", "paused", "running", "cancelled", "wait", "wait"]),
    st.sampled_from(MEMBERS),
)
OVER = {"completed", "cancelled"}
HOUR = DAY / 24
MEMBER = """
    SELECT m.id FROM crew_members m JOIN customers c ON c.id = m.customer_id WHERE m.crew_id = $1 AND c.ref = $2
"""


@dataclass
class Model:
    """An auto-sync that waits for everybody."""

    status: str = "running"
    members: set[str] = field(default_factory=lambda: set(MEMBERS))
    answered: set[str] = field(default_factory=set)
    reminded: bool = False
    since: datetime = START
    now: datetime = START

    def move(self, what: str, ref: str) -> str | None:
        """Take the step; the SQLSTATE with which it is refused."""
        match what:
            case "answer" if ref not in self.members:
                return "SB031"
            case "answer" if self.status in OVER:
                return "SB033"
            case "answer":
                self.answered.add(ref)
            case "leave":
                self.members.discard(ref)
            case "join" if self.status not in OVER:
                self.members.add(ref)
            case "wait":
                self.now += 13 * HOUR
                self._sweep()
            case "paused" | "running" | "cancelled" if self.status in OVER - {what}:
                return "SB007"
            case "paused" | "running" | "cancelled" if what != self.status:
                self.since = self.now if what == "running" else self.since
                self.status = what
        if self.status == "running" and self.members and self.members <= self.answered:
            self.status = "completed"
        return None

    def _sweep(self) -> None:
        if self.status == "running" and not self.reminded and self.now >= self.since + DAY:
            self.reminded = True
        if self.status == "running" and self.reminded and self.now >= self.since + 2 * DAY:
            self.status = "paused"

    @property
    def jobs(self) -> list[tuple[str, datetime]]:
        """What it waits for."""
        if self.status != "running":
            return []
        wanted: tuple[str, timedelta] = (
            ("auto_sync_pause_check", 2 * DAY) if self.reminded else ("auto_sync_reminder", DAY)
        )
        return [(wanted[0], self.since + wanted[1])]


class Real:
    """The same in the database."""

    def __init__(self, conn: asyncpg.Connection, crew_id: UUID, sync: Any) -> None:
        self._conn = conn
        self._crew_id = crew_id
        self.sync = sync

    async def move(self, what: str, ref: str, now: datetime) -> str | None:
        try:
            await self._move(what, ref, now)
        except asyncpg.PostgresError as error:
            return error.sqlstate
        return None

    async def _move(self, what: str, ref: str, now: datetime) -> None:
        conn = self._conn
        match what:
            case "answer":
                await answer(conn, self.sync, ref, p_now=now)
            case "leave":
                member_id = await conn.fetchval(MEMBER, self._crew_id, ref)
                given = {"p_crew_id": self._crew_id, "p_member_id": member_id, "p_now": now}
                await call(conn, "remove_crew_member", p_actor=ACTOR, **given)
            case "join":
                await join(conn, self._crew_id, ref, p_now=now)
            case "wait":
                await remind(conn, now)
                await pause(conn, now)
            case _:
                await step(conn, self.sync, what, p_now=now)


async def play(dsn: str, moves: list[tuple[str, str]]) -> None:
    conn = await asyncpg.connect(dsn, server_settings={"search_path": "holdfast"})
    try:
        crew_id = await make_crew(conn, *MEMBERS)
        model, real = Model(), Real(conn, crew_id, await start(conn, crew_id))
        for what, ref in moves:
            expected = model.move(what, ref)
            assert await real.move(what, ref, model.now) == expected
            assert (await read(conn, real.sync))["status"] == model.status
            assert await pending(conn, real.sync) == model.jobs
        await assert_no_violation(conn)
        await conn.execute("UPDATE auto_syncs SET status = 'cancelled' WHERE status IN ('running', 'paused')")
    finally:
        await conn.close()


@settings(max_examples=20, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(moves=st.lists(MOVE, min_size=4, max_size=16))
@example(moves=[("answer", "ann"), ("answer", "bob"), ("leave", "eve"), ("answer", "ann")])
@example(moves=[("wait", "ann")] * 4 + [("answer", ref) for ref in MEMBERS] + [("running", "ann"), ("paused", "ann")])
@example(
    moves=[("paused", "ann"), ("wait", "ann"), ("running", "ann"), ("wait", "ann"), ("wait", "ann"), ("wait", "ann")]
)
@example(moves=[("answer", "bob")] + [("leave", ref) for ref in MEMBERS] + [("join", "bob"), ("join", "ann")])
def test_it_stands_as_the_model_says(dsn: str, moves: list[tuple[str, str]]) -> None:
    asyncio.run(play(dsn, moves))
