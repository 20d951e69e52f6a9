"""What the tests of jobs share: each function of a worker's day, called as a worker calls it, at a time of the test."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from tests.sql.support import at, call, call_row, call_value

NOW = at("2030-06-03T09:00")
LEASE = timedelta(seconds=30)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# when a lease that was taken at NOW is over
EXPIRED = NOW + LEASE + SECOND

# each outcome a caller may settle with, and the status it leads to while attempts are left
OUTCOMES = {
    "processed": "processed",
    "skipped": "skipped",
    "permanent": "discarded",
    "failed": "pending",
    "budget": "pending",
    "snoozed": "pending",
    "released": "pending",
}


async def enqueue(conn: asyncpg.Connection, job_type: str = "mail", **overrides: Any) -> UUID:
    """The id of a job that enqueue_job made, due NOW unless the test says otherwise."""
    arguments = {"p_job_type": job_type, "p_now": NOW} | overrides
    return UUID(str(await call_value(conn, "enqueue_job", **arguments)))


async def claim(
    conn: asyncpg.Connection,
    limit: int = 100,
    *,
    instance: str = "one",
    queue: str = "default",
    lease: timedelta = LEASE,
    now: datetime = NOW,
) -> list[asyncpg.Record]:
    """The jobs that claim_jobs leased, in its order."""
    return await call(
        conn, "claim_jobs", p_instance_id=instance, p_queue=queue, p_limit=limit, p_lease=lease, p_now=now
    )


async def claim_one(conn: asyncpg.Connection, **overrides: Any) -> asyncpg.Record:
    """The one job that is due."""
    (job,) = await claim(conn, **overrides)
    return job


async def leased(conn: asyncpg.Connection, job_type: str = "mail", **overrides: Any) -> asyncpg.Record:
    """A new job, enqueued and claimed."""
    job_id = await enqueue(conn, job_type, **overrides)
    job = await claim_one(conn, queue=overrides.get("p_queue", "default"))
    assert job["id"] == job_id
    return job


def settlement(job: asyncpg.Record, outcome: str, **more: Any) -> dict[str, Any]:
    """One job's part of what settle_jobs takes."""
    return {"id": str(job["id"]), "lease_token": job["lease_token"], "outcome": outcome} | more


async def settle_tokens(
    conn: asyncpg.Connection, settlements: list[dict[str, Any]], now: datetime = NOW
) -> dict[tuple[UUID, int], str]:
    """Each answer of one call of settle_jobs, by job and token."""
    rows = await call(conn, "settle_jobs", p_settlements=json.dumps(settlements), p_now=now)
    answers = {(row["job_id"], row["lease_token"]): row["answer"] for row in rows}
    assert len(answers) == len(rows)
    return answers


async def settle_all(
    conn: asyncpg.Connection, settlements: list[dict[str, Any]], now: datetime = NOW
) -> list[tuple[UUID, str]]:
    """The same where no job is named twice: each job's answer."""
    return [(job_id, answer) for (job_id, _), answer in (await settle_tokens(conn, settlements, now)).items()]


async def settle(
    conn: asyncpg.Connection, job: asyncpg.Record, outcome: str, *, now: datetime = NOW, **more: Any
) -> str:
    """What settle_jobs answers for that job alone. A snooze without an end is one of a minute."""
    if outcome == "snoozed" and not {"run_at", "after"} & more.keys():
        more["run_at"] = str(now + MINUTE)
    ((job_id, answer),) = await settle_all(conn, [settlement(job, outcome, **more)], now)
    assert job_id == job["id"]
    return answer


async def extend(
    conn: asyncpg.Connection, *jobs: asyncpg.Record, lease: timedelta = LEASE, now: datetime = NOW
) -> dict[UUID, bool]:
    """The jobs that extend_leases says are still held, and whether somebody asked to cancel them."""
    rows = await call(
        conn,
        "extend_leases",
        p_job_ids=[job["id"] for job in jobs],
        p_lease_tokens=[job["lease_token"] for job in jobs],
        p_lease=lease,
        p_now=now,
    )
    return {row["job_id"]: row["is_cancel_requested"] for row in rows}


async def rescue(conn: asyncpg.Connection, limit: int = 50, *, now: datetime = EXPIRED) -> int:
    """How many rescue_jobs gave back, by then."""
    return int(await call_value(conn, "rescue_jobs", p_limit=limit, p_now=now))


# every attempt that has ended: one that did the job stands on the job itself
ATTEMPTS = """(
  SELECT job_id, lease_token, attempt, instance_id, outcome, error_message, started_at, ended_at FROM job_attempts
  UNION ALL
  SELECT id, lease_token, attempt, leased_by, 'processed', error_message, attempted_at, processed_at
  FROM jobs WHERE status = 'processed' AND attempt > 0
)"""


async def job_row(conn: asyncpg.Connection, job_id: UUID) -> dict[str, Any]:
    """A job as it is stored."""
    (row,) = await conn.fetch("SELECT * FROM jobs WHERE id = $1", job_id)
    return dict(row)


async def job_status(conn: asyncpg.Connection, job_id: UUID) -> str:
    """A job's status."""
    return str(await conn.fetchval("SELECT status FROM jobs WHERE id = $1", job_id))


async def attempts_of(conn: asyncpg.Connection, job_id: UUID) -> list[tuple[int, int, str]]:
    """The record of a job's attempts: token, attempt and outcome, oldest first."""
    rows = await conn.fetch(
        f"SELECT lease_token, attempt, outcome FROM {ATTEMPTS} a WHERE job_id = $1 ORDER BY lease_token", job_id
    )
    return [(row["lease_token"], row["attempt"], row["outcome"]) for row in rows]


async def heartbeat(conn: asyncpg.Connection, now: datetime = NOW) -> tuple[Any, ...]:
    """How many jobs are due, for how long the oldest has been, and how long ago somebody came."""
    return tuple(await call_row(conn, "jobs_heartbeat", p_now=now))


async def late(conn: asyncpg.Connection, way: str) -> tuple[asyncpg.Record, asyncpg.Record | None]:
    """A job as one holds it who has lost it, and as its present holder has it, if anybody does."""
    lost = await leased(conn, p_dedupe_key="ann")
    if way == "rescued":
        await rescue(conn)
    elif way == "claimed by another":
        await rescue(conn)
        return lost, await claim_one(conn, instance="two", now=EXPIRED + MINUTE)
    elif way == "given back and claimed again":
        # the attempt is the same: it cannot be the fence
        await settle(conn, lost, "snoozed", run_at=str(NOW))
        return lost, await claim_one(conn)
    else:
        await settle(conn, lost, way)
    return lost, None


WAYS_TO_LOSE = ["rescued", "claimed by another", "given back and claimed again", *OUTCOMES]
