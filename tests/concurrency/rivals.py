"""Rivals who are proven to be under way at once: one holds them back until every one of them waits."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from tests.conftest import Connect

T = TypeVar("T")

PATIENCE_SECONDS = 20
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
# those of the installation, in whichever process
OURS = f"{SESSIONS} AND application_name = 'holdfast'"
LOCKS = f"SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE {OURS.partition('WHERE ')[2]}"


async def connections(connect: Connect, count: int) -> list[asyncpg.Connection]:
    return list(await asyncio.gather(*(connect() for _ in range(count))))


async def until(observer: asyncpg.Connection, condition: str) -> None:
    """Return when the condition holds, asked again and again. Fails when it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await observer.fetchval(f"SELECT {condition}"):
        assert time.monotonic() < deadline, f"never came true: {condition}"
        await asyncio.sleep(0.005)


async def until_idle(observer: asyncpg.Connection) -> None:
    """Return when no session of the installation is in a transaction or holds a lock. Fails when some always is."""
    await until(observer, f"({OURS} AND state <> 'idle') = 0 AND ({LOCKS}) = 0")


async def until_buried(observer: asyncpg.Connection, since: datetime | None = None) -> None:
    """Return when no session of a killed process goes on with what it was told last.

    With `since`, of those that began later: the test's own live on.
    """
    began = f" AND backend_start > '{since}'" if since else ""
    await until(observer, f"({OURS}{began}) = 0")


async def until_waiting(observer: asyncpg.Connection, count: int) -> None:
    """Return when that many sessions of this database wait for a lock."""
    await until(observer, f"({SESSIONS} AND wait_event_type = 'Lock') >= {count}")


@asynccontextmanager
async def held_slots(holder: asyncpg.Connection, *slot_ids: UUID) -> AsyncIterator[None]:
    """Nobody else gets at these slots inside the block."""
    async with holder.transaction():
        await holder.execute("SELECT FROM slots WHERE id = ANY ($1) ORDER BY id FOR UPDATE", list(slot_ids))
        yield


def begin(attempts: Iterable[Coroutine[Any, Any, T]]) -> list["asyncio.Task[T]"]:
    return [asyncio.ensure_future(attempt) for attempt in attempts]


async def outcomes(tasks: Iterable[Awaitable[T]]) -> tuple[list[T], list[str]]:
    """What the winners got, and the SQLSTATE and message of each loser. Any other exception is raised."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    won, lost = [], []
    for result in results:
        if isinstance(result, asyncpg.PostgresError):
            lost.append(f"{result.sqlstate} {getattr(result, 'constraint_name', None) or result.args[0]}")
        elif isinstance(result, BaseException):
            raise result
        else:
            won.append(result)
    return won, lost


RECOUNT = """
    SELECT s.id, s.booked_bookings, s.booked_units, r.bookings, r.units, s.max_bookings, s.max_units
    FROM slots s
    CROSS JOIN LATERAL (
      SELECT count(*) AS bookings, COALESCE(sum(b.units), 0) AS units
      FROM bookings b
      WHERE b.slot_id = s.id AND b.status IN ('pending', 'confirmed', 'completed', 'no_show')
    ) AS r
"""


async def assert_counters_equal_a_recount(conn: asyncpg.Connection) -> None:
    rows = await conn.fetch(RECOUNT)
    assert rows
    for row in rows:
        assert (row["booked_bookings"], row["booked_units"]) == (row["bookings"], row["units"]), row
        assert row["bookings"] <= row["max_bookings"], row
        assert row["max_units"] is None or row["units"] <= row["max_units"], row
