"""RateLimits and Failures: what a process keeps in its memory, what it counts in the database, and whom it refuses."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from fastapi import Request

from app import rate_limits
from app.database import Database
from app.errors import Problem
from app.rate_limits import MAX_FAILURES, PORTION, WINDOW_SECONDS, Failures, RateLimits, Standing
from app.settings import Settings
from tests.conftest import Connect
from tests.unit.test_key_ring import Clock

QUOTA = 100
CREDIT = QUOTA // PORTION


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Limits(RateLimits):
    """A hundred reads a minute for a customer, and as many writes as they like."""

    def __init__(self, database: Database, clock: Clock) -> None:
        values: dict[str, Any] = {"rate_limit_read": QUOTA}
        super().__init__(Settings(_env_file=None, **values), clock)
        self.app = SimpleNamespace(state=SimpleNamespace(database=database))


@pytest.fixture
def limits(database: Database, clock: Clock) -> Limits:
    return Limits(database, clock)


async def admit(limits: Limits, principal: str = "customer:ann", method: str = "GET") -> Standing | None:
    """How the caller stands after one more request; None without a limit. Raises as the limits do."""
    request = SimpleNamespace(method=method, app=limits.app, state=SimpleNamespace(rate_limit=None))
    await limits.admit(cast("Request", request), principal)
    standing: Standing | None = request.state.rate_limit
    return standing


async def seconds_to_wait(limits: Limits) -> int:
    with pytest.raises(Problem, match="rate_limited") as refused:
        await admit(limits)
    return refused.value.retry_after


async def last_count(conn: asyncpg.Connection) -> str | None:
    """What changes with every count in the database; None where there was none."""
    counted: str | None = await conn.fetchval("SELECT xmin::text FROM rate_limits WHERE principal = 'customer:ann'")
    return counted


async def spend(conn: asyncpg.Connection, cost: int) -> None:
    """As another process would."""
    await conn.execute("SELECT spend_rate_limit('customer:ann', 'read', $1, $2)", cost, QUOTA)


async def test_without_a_limit_nothing_is_counted(limits: Limits, conn: asyncpg.Connection) -> None:
    assert [await admit(limits, method="POST") for _ in range(50)] == [None] * 50
    assert await last_count(conn) is None


async def test_a_twentieth_of_the_limit_passes_between_two_counts(limits: Limits, conn: asyncpg.Connection) -> None:
    counts = []
    for _ in range(2 * CREDIT + 1):
        await admit(limits)
        counts.append(await last_count(conn))

    first, second = counts[CREDIT], counts[2 * CREDIT]
    assert counts == [None] * CREDIT + [first] * CREDIT + [second]
    assert None not in {first, second}
    assert first != second


async def test_what_is_left_is_told_with_what_was_not_counted_yet(limits: Limits) -> None:
    told = [await admit(limits) for _ in range(CREDIT)]

    assert [standing.remaining for standing in told if standing] == [QUOTA - n for n in range(1, CREDIT + 1)]


async def test_who_comes_seldom_is_never_counted(limits: Limits, conn: asyncpg.Connection, clock: Clock) -> None:
    for _ in range(5 * CREDIT):
        await admit(limits)
        clock.now += WINDOW_SECONDS / (CREDIT - 1)

    assert await last_count(conn) is None


async def test_who_is_refused_costs_no_count_until_their_time_has_come(
    limits: Limits, conn: asyncpg.Connection, clock: Clock
) -> None:
    await spend(conn, 2 * QUOTA)
    for _ in range(CREDIT):
        await admit(limits)
    wait = await seconds_to_wait(limits)
    counted = await last_count(conn)

    assert {await seconds_to_wait(limits) for _ in range(3)} == {wait}
    assert await last_count(conn) == counted

    clock.now += wait
    assert await admit(limits)


async def test_what_is_owed_has_to_be_waited_for(limits: Limits, conn: asyncpg.Connection) -> None:
    await spend(conn, 2 * QUOTA)
    for _ in range(CREDIT):
        await admit(limits)

    # a whole limit is owed, a minute's, and a little more; some of that minute has passed since
    assert WINDOW_SECONDS / 2 < await seconds_to_wait(limits) <= WINDOW_SECONDS + CREDIT


async def test_nobody_is_refused_because_the_count_fails(limits: Limits, conn: asyncpg.Connection) -> None:
    await conn.execute("ALTER FUNCTION spend_rate_limit RENAME TO gone")

    assert all([await admit(limits) for _ in range(2 * QUOTA)])


async def test_nobody_is_refused_because_the_count_does_not_come(
    limits: Limits, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "PATIENCE_SECONDS", 0.05)
    rival = await connect()

    async with rival.transaction():
        await rival.execute("LOCK TABLE rate_limits")
        assert all([await admit(limits) for _ in range(3 * CREDIT)])


async def test_the_memory_of_callers_is_bounded(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MAX_CALLERS", 3)

    for number in range(50):
        await admit(limits, f"address:{number}")

    assert len(limits) == 3


def test_a_standing_is_told_as_the_draft_has_it() -> None:
    assert Standing("read", 600, 42, 55.2).headers == [
        (b"ratelimit-policy", b'"read";q=600;w=60'),
        (b"ratelimit", b'"read";r=42;t=56'),
    ]
    assert Standing("write", 60, -3, 63.0).headers[1] == (b"ratelimit", b'"write";r=0;t=63')


def failures_until_refused(failures: Failures, principal: str = "address:1") -> int:
    heard = 0
    with suppress(Problem):
        while heard < 1000:
            failures.count(principal)
            heard += 1
    return heard


def test_so_many_wrong_tokens_a_minute_are_heard_and_no_more(clock: Clock) -> None:
    failures = Failures(clock)

    assert failures_until_refused(failures) == MAX_FAILURES
    assert failures_until_refused(failures, "address:2") == MAX_FAILURES
    clock.now += WINDOW_SECONDS / 2
    assert failures_until_refused(failures) == MAX_FAILURES // 2
    clock.now += 10 * WINDOW_SECONDS
    assert failures_until_refused(failures) == MAX_FAILURES


def test_who_goes_on_guessing_is_told_how_long_to_wait_and_not_longer_for_it(clock: Clock) -> None:
    failures = Failures(clock)
    failures_until_refused(failures)

    for _ in range(100):
        with pytest.raises(Problem) as refused:
            failures.count("address:1")
        assert refused.value.retry_after == WINDOW_SECONDS / MAX_FAILURES


def test_the_memory_of_failures_is_bounded_and_keeps_who_goes_on(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MAX_CALLERS", 3)
    failures = Failures(clock)
    failures_until_refused(failures)

    for number in range(50):
        failures.count(f"address of another {number}")
        assert failures_until_refused(failures) == 0
    assert len(failures) == 3
