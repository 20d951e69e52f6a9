"""enqueue_job: one pending job of a type under a key, due when it was asked for last."""

from typing import Any

import asyncpg
import pytest

from tests.conftest import Connect
from tests.factories import Factory
from tests.sql.jobs import (
    HOUR,
    MINUTE,
    NOW,
    attempts_of,
    claim,
    claim_one,
    enqueue,
    job_row,
    job_status,
    leased,
    settle,
)
from tests.sql.support import violates

LATER = NOW + HOUR
KEY: dict[str, Any] = {"p_dedupe_key": "ann"}


async def test_a_job_waits_with_what_it_was_given(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()

    job_id = await enqueue(
        conn,
        "remind",
        p_payload='{"v": 1}',
        p_run_at=LATER,
        p_queue="mails",
        p_priority=0,
        p_max_attempts=7,
        p_booking_id=booking_id,
        **KEY,
    )

    job = await job_row(conn, job_id)
    assert (job["job_type"], job["payload"], job["queue"], job["dedupe_key"]) == ("remind", '{"v": 1}', "mails", "ann")
    assert (job["priority"], job["max_attempts"], job["booking_id"]) == (0, 7, booking_id)
    assert (job["scheduled_at"], job["run_at"], job["created_at"]) == (LATER, LATER, NOW)
    assert (job["status"], job["attempt"], job["lease_token"], job["leased_until"]) == ("pending", 0, 0, None)


async def test_without_a_time_it_is_due_at_once(conn: asyncpg.Connection) -> None:
    job = await job_row(conn, await enqueue(conn))

    assert (job["scheduled_at"], job["run_at"]) == (NOW, NOW)


async def test_without_a_key_each_is_a_job_of_its_own(conn: asyncpg.Connection) -> None:
    assert await enqueue(conn) != await enqueue(conn)


async def test_asked_again_there_is_still_one_and_it_is_as_asked_for_last(conn: asyncpg.Connection) -> None:
    first = await enqueue(conn, p_payload='{"n": 1}', **KEY)

    again = await enqueue(
        conn,
        p_payload='{"n": 2}',
        p_run_at=LATER,
        p_queue="mails",
        p_priority=3,
        p_max_attempts=1,
        p_now=NOW + MINUTE,
        **KEY,
    )

    assert again == first
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 1
    job = await job_row(conn, first)
    assert (job["payload"], job["queue"], job["priority"], job["max_attempts"]) == ('{"n": 2}', "mails", 3, 1)
    assert (job["scheduled_at"], job["run_at"]) == (LATER, LATER)
    assert (job["created_at"], job["updated_at"]) == (NOW, NOW + MINUTE)


async def test_asked_again_for_earlier_it_is_due_earlier(conn: asyncpg.Connection) -> None:
    await enqueue(conn, p_run_at=LATER, **KEY)
    job_id = await enqueue(conn, p_run_at=NOW, **KEY)

    assert [job["id"] for job in await claim(conn)] == [job_id]


async def test_one_that_failed_before_starts_over_when_asked_again(conn: asyncpg.Connection) -> None:
    job = await leased(conn, **KEY)
    await settle(conn, job, "failed", error_message="down")

    assert await enqueue(conn, **KEY) == job["id"]

    again = await claim_one(conn)
    assert (again["attempt"], again["lease_token"]) == (1, 2)


async def test_another_type_under_the_same_key_is_another_job(conn: asyncpg.Connection) -> None:
    assert await enqueue(conn, "mail", **KEY) != await enqueue(conn, "bill", **KEY)


async def test_one_that_is_being_run_is_left_alone_and_another_waits(conn: asyncpg.Connection) -> None:
    running = await leased(conn, p_payload='{"n": 1}', **KEY)
    before = await job_row(conn, running["id"])

    waiting = await enqueue(conn, p_payload='{"n": 2}', p_run_at=LATER, **KEY)

    assert waiting != running["id"]
    assert await job_row(conn, running["id"]) == before
    assert await settle(conn, running, "processed") == "ok"
    assert [job["id"] for job in await claim(conn, now=LATER)] == [waiting]


@pytest.mark.parametrize("outcome", ["processed", "skipped", "permanent"])
async def test_one_that_is_over_stays_so_and_another_waits(conn: asyncpg.Connection, outcome: str) -> None:
    job = await leased(conn, **KEY)
    await settle(conn, job, outcome)
    before = await job_row(conn, job["id"])

    again = await enqueue(conn, **KEY)

    assert again != job["id"]
    assert await job_row(conn, job["id"]) == before
    assert await job_status(conn, again) == "pending"
    assert await attempts_of(conn, again) == []


async def test_in_a_long_transaction_it_is_due_when_it_was_asked_for(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    elsewhere = await connect()

    async with conn.transaction():
        began_at = await conn.fetchval("SELECT now()")
        meanwhile = await elsewhere.fetchval("SELECT clock_timestamp()")
        job_id = await conn.fetchval("SELECT enqueue_job('mail')")

    job = await job_row(conn, job_id)
    assert began_at < meanwhile < job["scheduled_at"] == job["run_at"] == job["created_at"]


@pytest.mark.parametrize("priority", [-1, 4])
async def test_there_are_four_priorities(conn: asyncpg.Connection, priority: int) -> None:
    with violates("jobs_priority_check"):
        await enqueue(conn, p_priority=priority)


async def test_a_job_that_may_never_be_tried_is_refused(conn: asyncpg.Connection) -> None:
    # claimed, it would be over its limit, and fail every claim that comes across it
    with violates("jobs_attempt_check"):
        await enqueue(conn, p_max_attempts=0)


async def test_only_what_the_database_does_by_itself_is_in_no_queue(conn: asyncpg.Connection) -> None:
    with violates("jobs_queue_check"):
        await enqueue(conn, p_queue=None)
