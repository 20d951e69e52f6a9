"""jobs_guard_update and the checks: whoever writes, a job takes known steps alone, under tokens never given before."""

from itertools import product
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.sql.jobs import HOUR, NOW, attempts_of, claim, enqueue, job_row, job_status, leased, settle
from tests.sql.support import refused, violates

STATUSES = ("pending", "processing", "processed", "skipped", "discarded", "cancelled")
STEPS = {
    ("pending", "processing"),
    ("pending", "processed"),
    ("pending", "skipped"),
    ("pending", "cancelled"),
    ("processing", "processed"),
    ("processing", "skipped"),
    ("processing", "pending"),
    ("processing", "discarded"),
    ("processing", "cancelled"),
    ("discarded", "pending"),
    ("skipped", "pending"),
    ("cancelled", "pending"),
}
STEP = """
    UPDATE jobs
    SET status = $2,
        lease_token = lease_token + $3,
        leased_by = CASE WHEN $2 = 'processing' THEN 'psql' END,
        attempted_at = CASE WHEN $2 = 'processing' THEN now() END,
        leased_until = CASE WHEN $2 = 'processing' THEN now() END,
        processed_at = CASE WHEN $2 NOT IN ('pending', 'processing') THEN now() END
    WHERE id = $1
"""


async def job_in(conn: asyncpg.Connection, status: str) -> UUID:
    """A job that a raw INSERT puts into that status, under token 7."""
    return UUID(
        str(
            await conn.fetchval(
                """INSERT INTO jobs (
                  job_type, queue, dedupe_key, status, scheduled_at, run_at, lease_token, leased_by, attempted_at,
                  leased_until, processed_at
                )
                VALUES (
                  'mail', 'default', gen_random_uuid()::text, $1, now(), now(), 7, 'psql', now(),
                  CASE WHEN $1 = 'processing' THEN now() END,
                  CASE WHEN $1 NOT IN ('pending', 'processing') THEN now() END
                )
                RETURNING id""",
                status,
            )
        )
    )


@pytest.mark.parametrize(("before", "after"), list(product(STATUSES, repeat=2)))
async def test_every_known_step_is_taken_and_every_other_refused(
    conn: asyncpg.Connection, before: str, after: str
) -> None:
    job_id = await job_in(conn, before)
    new_tokens = int((before, after) == ("pending", "processing"))

    if before == after or (before, after) in STEPS:
        await conn.execute(STEP, job_id, after, new_tokens)
        assert await job_status(conn, job_id) == after
    else:
        with refused("SB007", "invalid_transition") as refusal:
            await conn.execute(STEP, job_id, after, new_tokens)
        assert refusal.detail == {"job_id": str(job_id), "from": before, "to": after, "from_token": 7, "to_token": 7}
        assert await job_status(conn, job_id) == before


@pytest.mark.parametrize(
    ("before", "after", "by"),
    [
        ("pending", "processing", 0),
        ("pending", "processing", 2),
        ("pending", "processing", -1),
        ("pending", "pending", 1),
        ("processing", "processing", 1),
        ("processing", "processing", -1),
        ("processing", "pending", 1),
        ("processing", "pending", -7),
        ("processing", "processed", 1),
        ("discarded", "pending", -7),
        ("discarded", "pending", 1),
        ("processed", "processed", -1),
    ],
)
async def test_a_token_grows_by_one_when_a_job_is_claimed_and_never_otherwise(
    conn: asyncpg.Connection, before: str, after: str, by: int
) -> None:
    job_id = await job_in(conn, before)

    with refused("SB007", "invalid_transition") as refusal:
        await conn.execute(STEP, job_id, after, by)

    assert (refusal.detail["from_token"], refusal.detail["to_token"]) == (7, 7 + by)
    assert (await job_row(conn, job_id))["lease_token"] == 7


async def test_a_status_that_nobody_knows_is_refused(conn: asyncpg.Connection) -> None:
    with violates("jobs_status_check"):
        await job_in(conn, "lost")


@pytest.mark.parametrize("status", ["pending", "processing"])
async def test_what_is_still_to_be_done_cannot_be_deleted(conn: asyncpg.Connection, status: str) -> None:
    job_id = await job_in(conn, status)

    with refused("SB012", "change_refused") as refusal:
        await conn.execute("DELETE FROM jobs")

    assert refusal.detail == {"table": "jobs", "operation": "delete"}
    assert await job_status(conn, job_id) == status


@pytest.mark.parametrize("status", [status for status in STATUSES if status not in ("pending", "processing")])
async def test_what_is_over_can_be_deleted(conn: asyncpg.Connection, status: str) -> None:
    await job_in(conn, status)

    assert await conn.execute("DELETE FROM jobs") == "DELETE 1"


async def test_two_jobs_of_a_type_cannot_wait_under_one_key(conn: asyncpg.Connection) -> None:
    job = await leased(conn, p_dedupe_key="ann")
    await enqueue(conn, p_dedupe_key="ann")

    with violates("jobs_pending_key"):
        await conn.execute(STEP, job["id"], "pending", 0)


async def test_an_attempt_is_recorded_once(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    await settle(conn, job, "released")

    with violates("job_attempts_pkey"):
        await conn.execute("INSERT INTO job_attempts SELECT * FROM job_attempts")

    assert len(await attempts_of(conn, job["id"])) == 1


async def test_an_outcome_that_nobody_knows_is_refused_and_the_job_still_held(conn: asyncpg.Connection) -> None:
    job = await leased(conn)

    with violates("job_attempts_outcome_check"):
        await settle(conn, job, "lost")

    assert await settle(conn, job, "processed") == "ok"


CLAIM = "status = 'processing', lease_token = 1"
# accepted, each would fail whoever claims, settles or rescues the job, and all that goes with it in one statement
POISON = {
    "a lease that never ends": ("jobs_lease_check", f"{CLAIM}, leased_by = 'psql', attempted_at = now()"),
    "a lease that nobody holds": ("jobs_lease_check", f"{CLAIM}, leased_until = now(), attempted_at = now()"),
    "an attempt that never began": ("jobs_lease_check", f"{CLAIM}, leased_until = now(), leased_by = 'psql'"),
    "a lease of what waits": ("jobs_lease_check", "leased_until = now()"),
    "an end without a time": ("jobs_processed_at_check", "status = 'processed'"),
    "an end of what waits": ("jobs_processed_at_check", "processed_at = now()"),
    "no attempt left for what waits": ("jobs_attempt_check", "attempt = max_attempts"),
    "less than no attempt": ("jobs_attempt_check", "attempt = -1"),
    "a priority that nobody claims": ("jobs_priority_check", "priority = 4"),
    "a time before all times": ("jobs_times_check", "run_at = '-infinity'"),
    "a time after all times": ("jobs_times_check", "scheduled_at = 'infinity'"),
    "a queue that nobody claims from": ("jobs_queue_check", "queue = NULL"),
}


@pytest.mark.parametrize("what", POISON)
async def test_what_would_fail_whoever_comes_across_it_is_refused(conn: asyncpg.Connection, what: str) -> None:
    await enqueue(conn)
    constraint, changes = POISON[what]

    with violates(constraint):
        await conn.execute(f"UPDATE jobs SET {changes}")

    assert len(await claim(conn, now=NOW + HOUR)) == 1


async def test_a_raw_writer_may_put_off_what_waits(conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn)

    changed: Any = await conn.execute("UPDATE jobs SET run_at = $1, priority = 0", NOW + HOUR)

    assert changed == "UPDATE 1"
    assert [job["id"] for job in await claim(conn, now=NOW + HOUR)] == [job_id]
