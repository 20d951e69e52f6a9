"""One call a function of sql/: jobs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from asyncpg import Record
from pydantic_core import from_json

from app.database import Database
from app.handlers import Job, Lease
from app.jobs.schemas import JobFilters, QueueLimits
from app.security import Actor


async def complete_due_bookings(db: Database, actor: Actor, limit: int) -> int:
    """How many confirmed bookings past their end became completed."""
    return int(await db.call_value("complete_due_bookings", p_actor=actor.json(), p_limit=limit))


async def expire_due_bookings(db: Database, actor: Actor, limit: int) -> int:
    """How many holds past their time became expired."""
    return int(await db.call_value("expire_due_bookings", p_actor=actor.json(), p_limit=limit))


async def refresh_due_schedules(db: Database, actor: Actor, limit: int) -> int:
    """How many schedules, whose day was over, reach to their horizon again."""
    return int(await db.call_value("refresh_due_schedules", p_actor=actor.json(), p_limit=limit))


async def close_waitlists(db: Database, actor: Actor, limit: int) -> int:
    """How many waited for a slot that has begun or is closed, and are told so."""
    return int(await db.call_value("close_waitlists", p_actor=actor.json(), p_limit=limit))


async def sweep_prebookings(db: Database, actor: Actor, limit: int) -> int:
    """How many prebookings, whose job was over without them, have failed or have a job again."""
    return int(await db.call_value("sweep_prebookings", p_actor=actor.json(), p_limit=limit))


async def remind_due_bookings(db: Database, actor: Actor, limit: int) -> int:
    """How many bookings, of which a reminder was due, have their messages."""
    return int(await db.call_value("remind_due_bookings", p_actor=actor.json(), p_limit=limit))


async def remind_due_auto_syncs(db: Database, actor: Actor, limit: int) -> int:
    """How many auto-syncs, whose reminder was due, have told those who have not answered."""
    return int(await db.call_value("remind_due_auto_syncs", p_actor=actor.json(), p_limit=limit))


async def pause_due_auto_syncs(db: Database, actor: Actor, limit: int) -> int:
    """How many auto-syncs, whose goal was not met in time, are paused."""
    return int(await db.call_value("pause_due_auto_syncs", p_actor=actor.json(), p_limit=limit))


async def sweep_messages(db: Database, _actor: Actor, limit: int) -> int:
    """How many messages, whose job was over without them, have failed."""
    return int(await db.call_value("sweep_messages", p_limit=limit))


async def prune_idempotency_keys(db: Database, _actor: Actor, limit: int) -> int:
    """How many idempotency keys were old enough to forget."""
    return int(await db.call_value("prune_idempotency_keys", p_limit=limit))


async def prune_rate_limits(db: Database, _actor: Actor, limit: int) -> int:
    """How many callers have spent nothing that still counts."""
    return int(await db.call_value("prune_rate_limits", p_limit=limit))


async def backfill_audit_chain(db: Database, _actor: Actor, limit: int) -> int:
    """How many rows of the audit trail that were not chained are now, or ends of chains that were not noted."""
    return int(await db.call_value("backfill_audit_chain", p_limit=limit))


async def make_audit_partitions(db: Database, _actor: Actor, _limit: int) -> int:
    """How many of the months to come had no partition of the audit trail."""
    return int(await db.call_value("make_audit_partitions"))


async def forget_audit_addresses(db: Database, _actor: Actor, limit: int, keep: timedelta) -> int:
    """From how many rows of the audit trail address and user agent are gone, after so long."""
    return int(await db.call_value("forget_audit_addresses", p_limit=limit, p_keep=keep))


async def drop_audit_month(db: Database, actor: Actor, limit: int, keep_months: int) -> int:
    """Of how many subjects of the oldest month it is noted what goes; below the limit, the month is gone."""
    return int(await db.call_value("drop_audit_month", p_actor=actor.json(), p_limit=limit, p_keep_months=keep_months))


async def prune_deliveries(db: Database, _actor: Actor, limit: int, keep: timedelta) -> int:
    """How many deliveries were over for long enough to forget."""
    return int(await db.call_value("prune_deliveries", p_limit=limit, p_keep=keep))


async def prune_messages(db: Database, _actor: Actor, limit: int, keep: timedelta) -> int:
    """How many messages were made long enough ago to forget."""
    return int(await db.call_value("prune_messages", p_limit=limit, p_keep=keep))


async def forget_provider_answers(db: Database, actor: Actor, limit: int, keep: timedelta) -> int:
    """Forget what providers said of prebookings that were over so long ago; answers in how many rows."""
    return int(await db.call_value("forget_provider_answers", p_actor=actor.json(), p_limit=limit, p_keep=keep))


async def enqueue_idle_customers(db: Database, _actor: Actor, limit: int, keep: timedelta) -> int:
    """Leave jobs that erase customers with whom nothing happened for so long; answers how many."""
    return int(await db.call_value("enqueue_idle_customers", p_limit=limit, p_keep=keep))


async def prune_jobs(db: Database, _actor: Actor, limit: int, keep: timedelta, keep_discarded: timedelta) -> int:
    """How many jobs were over for long enough to forget."""
    return int(await db.call_value("prune_jobs", p_limit=limit, p_keep=keep, p_keep_discarded=keep_discarded))


async def prune_job_runs(db: Database, _actor: Actor, limit: int) -> int:
    """How many runs were over for long enough to forget."""
    return int(await db.call_value("prune_job_runs", p_limit=limit))


async def backfill_jobs(db: Database, _actor: Actor, limit: int) -> int:
    """How many bookings and auto-syncs have their lost job again. It reads all that are live, so once an hour."""
    return int(await db.call_value("backfill_jobs", p_limit=limit, p_every=timedelta(hours=1)))


async def rescue_jobs(db: Database, _actor: Actor, limit: int) -> int:
    """How many jobs, whose holder died or hung, wait for their next attempt or are discarded."""
    return int(await db.call_value("rescue_jobs", p_limit=limit))


async def due_jobs(db: Database) -> Record:
    """`remaining_due, oldest_due_age_ms`."""
    return await db.call_row("due_jobs")


async def next_job_due_in(db: Database, queues: Sequence[str], job_types: Sequence[str] = ()) -> float | None:
    """Seconds until the next job of these is due, nought or less where one is; None where there is none."""
    due_in = await db.call_value("next_job_due_in", p_queues=list(queues), p_job_types=list(job_types))
    return due_in.total_seconds() if due_in is not None else None


async def claim_jobs(db: Database, instance_id: str, queue: str, limit: int, lease: float) -> list[Job]:
    """Due jobs of the queue, leased to the instance for so many seconds, in the order in which to start them."""
    rows = await db.call(
        "claim_jobs", p_instance_id=instance_id, p_queue=queue, p_limit=limit, p_lease=timedelta(seconds=lease)
    )
    return [Job(job_id, job_type, from_json(payload), *rest) for job_id, job_type, payload, *rest in rows]


async def complete_jobs(db: Database, jobs: Sequence[Job]) -> int:
    """Of how many the lease was lost; the others are processed."""
    lost = await db.call(
        "complete_jobs", p_job_ids=[job.id for job in jobs], p_lease_tokens=[job.lease_token for job in jobs]
    )
    return len(lost)


async def settle_jobs(db: Database, settlements: list[dict[str, Any]]) -> dict[Lease, str]:
    """What came of settling each: `ok`, `stale` or `cancelled`."""
    rows = await db.call("settle_jobs", p_settlements=settlements)
    return {(row["job_id"], row["lease_token"]): row["answer"] for row in rows}


async def extend_leases(db: Database, jobs: Sequence[Job], lease: float) -> dict[Lease, bool]:
    """The leases still held, and whether somebody asked to cancel the job."""
    rows = await db.call(
        "extend_leases",
        p_job_ids=[job.id for job in jobs],
        p_lease_tokens=[job.lease_token for job in jobs],
        p_lease=timedelta(seconds=lease),
    )
    return {(row["job_id"], row["lease_token"]): row["is_cancel_requested"] for row in rows}


async def record_job_run(
    db: Database, instance_id: str, caller: str, report: dict[str, Any], *, is_over: bool = False
) -> None:
    """Leave a trace of having been here."""
    await db.call("record_job_run", p_instance_id=instance_id, p_caller=caller, p_report=report, p_is_over=is_over)


async def job_stats(db: Database) -> str:
    """How the jobs stand, as JSON."""
    return str(await db.call_value("job_stats"))


async def jobs_heartbeat(db: Database) -> Record:
    """`due, oldest_due_age_ms, last_run_age_ms`; the last is None where nobody ever came."""
    return await db.call_row("jobs_heartbeat")


async def list_jobs(db: Database, filters: JobFilters) -> str:
    """One page of the jobs that pass every given filter, as JSON."""
    return str(
        await db.call_value(
            "list_jobs",
            p_status=filters.status,
            p_job_type=filters.job_type,
            p_queue=filters.queue,
            p_booking_id=filters.booking_id,
            p_limit=filters.limit,
            p_cursor=filters.cursor,
        )
    )


async def get_job(db: Database, job_id: UUID) -> str:
    """One job with its attempts, as JSON. Raises job_not_found."""
    return str(await db.call_value("get_job", p_job_id=job_id))


async def retry_job(db: Database, actor: Actor, job_id: UUID) -> str:
    """The job, which waits again, as JSON. Raises job_not_found, invalid_transition."""
    return str(await db.call_value("retry_job", p_actor=actor.json(), p_job_id=job_id))


async def cancel_job(db: Database, actor: Actor, job_id: UUID) -> str:
    """The job, which will not run again, as JSON. Raises job_not_found, invalid_transition."""
    return str(await db.call_value("cancel_job", p_actor=actor.json(), p_job_id=job_id))


async def put_queue(db: Database, actor: Actor, name: str, limits: QueueLimits) -> str:
    """The queue with these limits, as JSON."""
    return str(
        await db.call_value(
            "put_queue",
            p_actor=actor.json(),
            p_queue=name,
            p_max_running=limits.max_running,
            p_stagger_ms=limits.stagger_ms,
        )
    )


async def pause_queue(db: Database, actor: Actor, name: str, seconds: float | None, reason: str | None) -> str:
    """The queue, of which nothing is claimed for so many seconds or until it is resumed, as JSON."""
    pause = timedelta(seconds=seconds) if seconds is not None else None
    return str(
        await db.call_value("pause_queue", p_actor=actor.json(), p_queue=name, p_pause_for=pause, p_reason=reason)
    )


async def resume_queue(db: Database, actor: Actor, name: str) -> str:
    """The queue, of which jobs are claimed again, as JSON."""
    return str(await db.call_value("resume_queue", p_actor=actor.json(), p_queue=name))


async def read_staggers(db: Database) -> dict[str, int]:
    """Milliseconds between two starts, for each queue that somebody has set."""
    return {row["name"]: row["stagger_ms"] for row in await db.call("queue_staggers")}
