"""spend_rate_limit, prune_rate_limits: one count of one caller's requests, whoever brings them."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.conftest import Connect
from tests.factories import TOMORROW
from tests.sql.support import TICK, call_row, call_value

MINUTE = timedelta(minutes=1)


async def spend(conn: asyncpg.Connection, cost: int, now: datetime = TOMORROW, **overrides: Any) -> tuple[int, float]:
    """What is left after that many requests, and in how many seconds all is back."""
    arguments = {"p_principal": "api_key:1", "p_policy": "read", "p_quota": 60} | overrides
    return tuple(await call_row(conn, "spend_rate_limit", p_cost=cost, p_now=now, **arguments))


async def test_what_is_spent_is_missing_and_comes_back_evenly(conn: asyncpg.Connection) -> None:
    assert await spend(conn, 0) == (60, 0)
    assert await spend(conn, 40) == (20, 40)
    assert await spend(conn, 0, TOMORROW + timedelta(seconds=10)) == (30, 30)
    assert await spend(conn, 0, TOMORROW + timedelta(seconds=39.9)) == (59, 0.1)
    assert await spend(conn, 0, TOMORROW + timedelta(hours=1)) == (60, 0)


async def test_what_was_spent_beyond_the_limit_is_owed(conn: asyncpg.Connection) -> None:
    assert await spend(conn, 60) == (0, 60)
    assert await spend(conn, 5) == (-5, 65)
    assert await spend(conn, 0, TOMORROW + timedelta(seconds=5)) == (0, 60)
    assert await spend(conn, 0, TOMORROW + timedelta(seconds=6)) == (1, 59)


async def test_one_caller_spends_nothing_of_anothers_and_a_read_nothing_of_a_writes(conn: asyncpg.Connection) -> None:
    await spend(conn, 60)

    assert await spend(conn, 0, p_principal="api_key:2") == (60, 0)
    assert await spend(conn, 0, p_policy="write") == (60, 0)


@pytest.mark.parametrize("quota", [1, 7, 60, 999, 100_000])
async def test_a_whole_limit_is_the_whole_limit_whatever_it_divides_into(conn: asyncpg.Connection, quota: int) -> None:
    portion = max(quota // 20, 1)

    for spent in range(portion, quota + 1, portion):
        remaining, _ = await spend(conn, portion, p_quota=quota)
        assert remaining == quota - spent


async def test_a_clock_that_is_behind_gives_nothing_back(conn: asyncpg.Connection) -> None:
    await spend(conn, 30)

    assert (await spend(conn, 0, TOMORROW - timedelta(seconds=10)))[0] == 20


async def test_rivals_lose_none_of_what_they_spend(conn: asyncpg.Connection, connect: Connect) -> None:
    rivals = [await connect() for _ in range(5)]

    await asyncio.gather(*(spend(rival, 3) for rival in rivals))

    assert await spend(conn, 0) == (45, 15)


async def test_who_has_spent_nothing_that_counts_is_forgotten_a_few_at_a_time(conn: asyncpg.Connection) -> None:
    for number in range(3):
        await spend(conn, 60, p_principal=f"old {number}")
    await spend(conn, 60, TOMORROW + MINUTE, p_principal="young")
    later = TOMORROW + MINUTE + TICK

    assert [await call_value(conn, "prune_rate_limits", p_limit=2, p_now=later) for _ in range(3)] == [2, 1, 0]
    assert await conn.fetchval("SELECT principal FROM rate_limits") == "young"


async def test_the_table_costs_no_journal(conn: asyncpg.Connection) -> None:
    assert await conn.fetchval("SELECT relpersistence FROM pg_class WHERE oid = 'rate_limits'::regclass") == b"u"
