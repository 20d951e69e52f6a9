"""claim_jobs: due jobs of a queue, each leased to one caller under a new token, in the order in which to start them."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.factories import Factory
from tests.sql.jobs import (
    EXPIRED,
    HOUR,
    LEASE,
    MINUTE,
    NOW,
    SECOND,
    claim,
    claim_one,
    enqueue,
    job_row,
    leased,
    rescue,
    settle,
)
from tests.sql.support import TICK


async def enqueue_many(conn: asyncpg.Connection, count: int, **overrides: Any) -> None:
    """So many jobs that differ in nothing."""
    for _ in range(count):
        await enqueue(conn, **overrides)


async def test_a_claimed_job_is_leased_to_the_caller_under_a_new_token(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    due_at = NOW - HOUR
    job_id = await enqueue(
        conn, p_payload='{"v": 1}', p_run_at=due_at, p_max_attempts=7, p_booking_id=booking_id, p_now=due_at
    )

    claimed = await claim_one(conn, instance="me")

    assert tuple(claimed) == (job_id, "mail", '{"v": 1}', 1, 7, 1, booking_id, due_at)
    job = await job_row(conn, job_id)
    assert (job["status"], job["attempt"], job["lease_token"]) == ("processing", 1, 1)
    assert (job["leased_by"], job["leased_until"], job["attempted_at"]) == ("me", NOW + LEASE, NOW)
    assert (job["scheduled_at"], job["run_at"], job["updated_at"]) == (due_at, due_at, NOW)


async def test_a_job_is_claimed_from_the_instant_it_is_due(conn: asyncpg.Connection) -> None:
    await enqueue(conn)

    assert await claim(conn, now=NOW - TICK) == []
    assert len(await claim(conn, now=NOW)) == 1


async def test_a_job_that_is_held_is_not_claimed_again(conn: asyncpg.Connection) -> None:
    await leased(conn)

    assert await claim(conn, instance="another", now=NOW + LEASE - TICK) == []
    # nor is one whose lease is over: it is rescued first, which puts the attempt on record
    assert await claim(conn, instance="another", now=EXPIRED) == []


async def test_only_the_queue_that_was_asked_for_is_claimed_from(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()
    job_id = await enqueue(conn, p_queue="mails")

    assert await claim(conn, now=NOW) == []
    assert [job["id"] for job in await claim(conn, queue="mails")] == [job_id]


@pytest.mark.parametrize("limit", [0, 1, 3])
async def test_no_more_are_claimed_than_asked_for(conn: asyncpg.Connection, limit: int) -> None:
    for priority in range(4):
        await enqueue_many(conn, 4, p_priority=priority, p_run_at=NOW - HOUR)

    assert len(await claim(conn, limit)) == limit
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE status = 'processing'") == limit


async def test_they_start_by_priority_then_due_time_then_in_the_order_they_came(conn: asyncpg.Connection) -> None:
    wanted = {}
    for place, (priority, seconds) in {5: (1, 0), 2: (0, 0), 1: (0, 2), 6: (3, 9), 4: (1, 1), 3: (0, 0)}.items():
        wanted[place] = await enqueue(conn, p_priority=priority, p_run_at=NOW - seconds * SECOND)

    assert [job["id"] for job in await claim(conn)] == [wanted[place] for place in sorted(wanted)]


async def test_a_quarter_of_the_room_goes_to_what_has_waited_a_minute(conn: asyncpg.Connection) -> None:
    await enqueue_many(conn, 20, p_priority=0)
    old = [await enqueue(conn, p_priority=3, p_run_at=NOW - MINUTE) for _ in range(20)]

    claimed = [job["id"] for job in await claim(conn, 10)]

    # two and a half of ten: two, or three
    oldest = [job_id for job_id in claimed if job_id in old]
    assert oldest in (old[:2], old[:3])
    assert claimed[: len(oldest)] == oldest
    assert len(claimed) == 10


async def test_what_has_not_waited_a_minute_waits_for_its_priority(conn: asyncpg.Connection) -> None:
    await enqueue_many(conn, 20, p_priority=0)
    await enqueue_many(conn, 20, p_priority=3, p_run_at=NOW - MINUTE + TICK)

    assert {await priority_of(conn, job) for job in await claim(conn, 10)} == {0}


async def priority_of(conn: asyncpg.Connection, job: asyncpg.Record) -> int:
    return int((await job_row(conn, job["id"]))["priority"])


async def test_nothing_of_the_room_is_kept_for_old_jobs_that_there_are_not(conn: asyncpg.Connection) -> None:
    await enqueue_many(conn, 20, p_priority=0)

    assert len(await claim(conn, 20)) == 20


@pytest.mark.parametrize("priority", [1, 2, 3])
async def test_jobs_that_come_one_by_one_do_not_starve_an_old_one(conn: asyncpg.Connection, priority: int) -> None:
    waiting = await enqueue(conn, p_priority=priority, p_run_at=NOW - MINUTE)

    # three times in four it is not its turn; a hundred times on end, never
    for _ in range(100):
        await enqueue(conn, p_priority=0)
        if (await claim_one(conn, limit=1))["id"] == waiting:
            return
    raise AssertionError(await job_row(conn, waiting))


@pytest.mark.parametrize("starved", [1, 2, 3])
async def test_a_backlog_of_one_priority_does_not_starve_another_that_waited_for_longer(
    conn: asyncpg.Connection, starved: int
) -> None:
    waiting = await enqueue(conn, p_priority=starved, p_run_at=NOW - 2 * MINUTE)
    for priority in {1, 2, 3} - {starved}:
        await enqueue_many(conn, 60, p_priority=priority, p_run_at=NOW - MINUTE)

    for _ in range(10):
        await enqueue_many(conn, 10, p_priority=0)
        if waiting in [job["id"] for job in await claim(conn, 10)]:
            return
    raise AssertionError(await job_row(conn, waiting))


async def test_a_job_that_failed_comes_after_older_due_work(conn: asyncpg.Connection) -> None:
    failed = await leased(conn)
    await settle(conn, failed, "failed")
    back_at = (await job_row(conn, failed["id"]))["run_at"]
    older = await enqueue(conn, p_run_at=back_at - TICK)
    younger = await enqueue(conn, p_run_at=back_at + TICK)

    claimed = await claim(conn, now=back_at + TICK)

    assert [job["id"] for job in claimed] == [older, failed["id"], younger]


@pytest.mark.parametrize("outcome", ["snoozed", "released"])
async def test_a_job_given_back_is_claimed_as_the_same_attempt_under_another_token(
    conn: asyncpg.Connection, outcome: str
) -> None:
    job = await leased(conn)
    await settle(conn, job, outcome)

    again = await claim_one(conn, now=NOW + MINUTE)

    assert (again["id"], again["attempt"], again["lease_token"]) == (job["id"], 1, 2)


async def test_a_token_is_never_given_twice_however_a_job_comes_back(conn: asyncpg.Connection) -> None:
    job = await leased(conn, p_max_attempts=9)
    tokens, now = [job["lease_token"]], NOW
    for outcome in ("released", "failed", "snoozed", "lease_expired", "budget", "released"):
        if outcome == "lease_expired":
            assert await rescue(conn, now=now + LEASE + TICK) == 1
        else:
            assert await settle(conn, job, outcome, now=now) == "ok"
        now += HOUR
        job = await claim_one(conn, now=now)
        tokens.append(job["lease_token"])

    assert tokens == [1, 2, 3, 4, 5, 6, 7]
    assert job["attempt"] == 4


async def test_what_is_due_first_goes_first_when_several_claim_in_turn(conn: asyncpg.Connection) -> None:
    due = [await enqueue(conn, p_run_at=NOW - timedelta(seconds=50 - n)) for n in range(20)]

    shares = [[job["id"] for job in await claim(conn, 4, instance=str(n))] for n in range(5)]

    assert shares == [due[n : n + 4] for n in range(0, 20, 4)]
