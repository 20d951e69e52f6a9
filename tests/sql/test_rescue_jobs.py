"""rescue_jobs: what was held by somebody who died waits for its next attempt, or ends."""

import asyncpg

from tests.sql.jobs import (
    EXPIRED,
    HOUR,
    LEASE,
    NOW,
    SECOND,
    attempts_of,
    claim,
    claim_one,
    enqueue,
    extend,
    job_row,
    job_status,
    leased,
    rescue,
    settle,
)
from tests.sql.support import TICK, call_value


async def test_a_job_is_lost_the_instant_after_its_lease_ends(conn: asyncpg.Connection) -> None:
    await leased(conn)

    assert await rescue(conn, now=NOW + LEASE) == 0
    assert await rescue(conn, now=NOW + LEASE + TICK) == 1


async def test_a_rescued_job_waits_and_the_lost_attempt_is_on_record(conn: asyncpg.Connection) -> None:
    job = await leased(conn)

    assert await rescue(conn) == 1

    rescued = await job_row(conn, job["id"])
    assert (rescued["status"], rescued["attempt"], rescued["lease_token"]) == ("pending", 1, 1)
    assert EXPIRED + 5 * SECOND <= rescued["run_at"] <= EXPIRED + 10 * SECOND
    assert (rescued["leased_until"], rescued["error_message"]) == (None, "the lease of one is over")
    assert await attempts_of(conn, job["id"]) == [(1, 1, "lease_expired")]


async def test_a_job_that_kills_whoever_runs_it_is_given_up(conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn, p_max_attempts=3)

    now = NOW
    for _ in range(3):
        await claim_one(conn, now=now)
        now += LEASE + TICK
        assert await rescue(conn, now=now) == 1
        now += HOUR

    assert await claim(conn, now=now) == []
    assert await job_status(conn, job_id) == "discarded"
    assert await attempts_of(conn, job_id) == [(n, n, "lease_expired") for n in (1, 2, 3)]


async def test_a_renewed_lease_is_not_lost(conn: asyncpg.Connection) -> None:
    job = await leased(conn)

    await extend(conn, job, lease=HOUR)

    assert await rescue(conn) == 0


async def test_what_is_over_or_waits_is_nobodys_to_rescue(conn: asyncpg.Connection) -> None:
    for outcome in ("processed", "permanent", "snoozed"):
        await settle(conn, await leased(conn), outcome)
    before = await conn.fetch("SELECT * FROM jobs ORDER BY id")

    assert await rescue(conn, now=NOW + HOUR) == 0
    assert await conn.fetch("SELECT * FROM jobs ORDER BY id") == before


async def test_no_more_are_rescued_than_asked_for(conn: asyncpg.Connection) -> None:
    for _ in range(5):
        await enqueue(conn)
    await claim(conn)

    assert [await rescue(conn, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_lost_job_that_was_to_be_cancelled_does_not_come_back(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    await call_value(conn, "cancel_job", p_actor='{"type": "admin", "id": "ann"}', p_job_id=job["id"], p_now=NOW)

    assert await rescue(conn) == 1

    assert await job_status(conn, job["id"]) == "cancelled"


async def test_a_lost_job_whose_key_waits_again_is_superseded_and_the_others_are_rescued(
    conn: asyncpg.Connection,
) -> None:
    for n in range(10):
        await enqueue(conn, p_dedupe_key=str(n), p_run_at=NOW - (10 - n) * SECOND)
    jobs = await claim(conn)
    twin = await enqueue(conn, p_dedupe_key="4", p_run_at=NOW + HOUR)

    assert await rescue(conn) == 10

    assert [await job_status(conn, job["id"]) for job in jobs] == [*["pending"] * 4, "cancelled", *["pending"] * 5]
    assert await job_status(conn, twin) == "pending"


async def test_a_lost_job_makes_room_in_its_queue(conn: asyncpg.Connection) -> None:
    await call_value(conn, "put_queue", p_actor="{}", p_queue="default", p_max_running=1, p_stagger_ms=0)
    await leased(conn)
    waiting = await enqueue(conn)

    assert await claim(conn, now=EXPIRED) == []
    await rescue(conn)
    assert [job["id"] for job in await claim(conn, now=EXPIRED + TICK)] == [waiting]
