"""What the database does by itself, many at a time, whenever somebody comes by.

No leader: rows that one holds, the others skip.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import asyncpg
import structlog

from app.database import Database
from app.jobs import queries
from app.security import Actor
from app.settings import Settings

# the types of job that are settled by the sweeps below, and by no handler
JOB_TYPES = (
    "complete_booking",
    "expire_booking",
    "refresh_schedule",
    "remind_booking",
    "auto_sync_reminder",
    "auto_sync_pause_check",
)

ERASED_AT_ONCE = 10

logger = structlog.get_logger(__name__)


class Retention(NamedTuple):
    """How long things are remembered: jobs that are over or failed for good, deliveries, messages, providers' answers.

    And customers with whom nothing happens, whole months of the audit trail, and addresses in it; None: for ever.
    """

    over: timedelta = timedelta(days=3)
    discarded: timedelta = timedelta(days=30)
    deliveries: timedelta = timedelta(days=30)
    messages: timedelta = timedelta(days=365)
    answers: timedelta = timedelta(days=365)
    customers: timedelta | None = None
    audit_months: int | None = None
    addresses: timedelta | None = timedelta(days=365)


def retention_of(settings: Settings) -> Retention:
    """What the settings say of it."""
    return Retention(
        timedelta(days=settings.jobs_keep_days),
        timedelta(days=settings.jobs_keep_discarded_days),
        timedelta(days=settings.deliveries_keep_days),
        timedelta(days=settings.messages_keep_days),
        timedelta(days=settings.prebookings_keep_days),
        timedelta(days=settings.customers_keep_days) if settings.customers_keep_days else None,
        settings.audit_keep_months or None,
        timedelta(days=settings.audit_keep_address_days) if settings.audit_keep_address_days else None,
    )


class Sweep(NamedTuple):
    """All due work of one kind, batch by batch: each call answers how much it did."""

    run: Callable[[Database, Actor, int], Awaitable[int]]
    batch_size: int = 500
    # what it counts as in the report of a run
    tally: str | None = None

    @property
    def name(self) -> str:
        """As its function is called."""
        function: Callable[..., object] = self.run.func if isinstance(self.run, partial) else self.run
        return function.__name__


SWEEPS = (
    Sweep(queries.rescue_jobs, batch_size=50, tally="rescued"),
    # before anything else, for each frees a place that somebody may be waiting for
    Sweep(queries.expire_due_bookings, tally="processed"),
    Sweep(queries.complete_due_bookings, tally="processed"),
    # one resource a transaction: see the function
    Sweep(queries.refresh_due_schedules, batch_size=1, tally="processed"),
    Sweep(queries.remind_due_bookings, tally="processed"),
    Sweep(queries.remind_due_auto_syncs, tally="processed"),
    Sweep(queries.pause_due_auto_syncs, tally="processed"),
    Sweep(queries.close_waitlists),
    Sweep(queries.sweep_prebookings),
    Sweep(queries.sweep_messages),
    Sweep(queries.backfill_jobs),
    Sweep(queries.backfill_audit_chain),
    Sweep(queries.make_audit_partitions),
    Sweep(queries.prune_job_runs),
    Sweep(queries.prune_idempotency_keys),
    Sweep(queries.prune_rate_limits),
)


def forgetting(retention: Retention) -> list[Sweep]:
    """The sweeps that forget, each after its time; none for what is kept for ever."""
    jobs = partial(queries.prune_jobs, keep=retention.over, keep_discarded=retention.discarded)
    sweeps = [
        Sweep(jobs),
        Sweep(partial(queries.prune_deliveries, keep=retention.deliveries)),
        Sweep(partial(queries.prune_messages, keep=retention.messages)),
        Sweep(partial(queries.forget_provider_answers, keep=retention.answers)),
    ]
    if retention.customers is not None:
        sweeps.append(Sweep(partial(queries.enqueue_idle_customers, keep=retention.customers), ERASED_AT_ONCE))
    if retention.addresses is not None:
        sweeps.append(Sweep(partial(queries.forget_audit_addresses, keep=retention.addresses)))
    if retention.audit_months is not None:
        sweeps.append(Sweep(partial(queries.drop_audit_month, keep_months=retention.audit_months)))
    return sweeps


async def keep_house(
    db: Database, actor: Actor, retention: Retention, tally: Counter[str], out_of_time: Callable[[], bool]
) -> None:
    """Do all of it until nothing is left or time is up, and count in `tally` what was done.

    A sweep that the database refuses is told of and counted, and keeps nothing else from being done.
    """
    for sweep in (*SWEEPS, *forgetting(retention)):
        try:
            await _finish(sweep, db, actor, tally, out_of_time)
        except asyncpg.PostgresError as error:
            tally["failed_sweeps"] += 1
            # not the message: it may quote a row
            logger.warning("a sweep failed", sweep=sweep.name, error=type(error).__name__, sqlstate=error.sqlstate)


async def _finish(
    sweep: Sweep, db: Database, actor: Actor, tally: Counter[str], out_of_time: Callable[[], bool]
) -> None:
    done = sweep.batch_size
    while done == sweep.batch_size and not out_of_time():
        done = await sweep.run(db, actor, sweep.batch_size)
        if sweep.tally:
            tally[sweep.tally] += done
            # a rescued job is not done, and one that is done by a sweep was claimed by it
            tally["claimed"] += done if sweep.tally == "processed" else 0
