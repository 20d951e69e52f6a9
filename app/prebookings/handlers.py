"""Who does the jobs of prebookings: openings at our own resources, and requests at providers."""

from functools import cache
from uuid import UUID

import asyncpg

from app.adapters.clock import SharedClocks
from app.adapters.registry import find_adapter
from app.database import Database
from app.handlers import Handler, Job, Ok, Outcome, Retry, Skip
from app.prebookings import queries
from app.prebookings.execution import ACTOR, Execution, Means
from app.settings import Settings

# A transaction with so many ends in some tens of milliseconds, and newcomers wait no longer for their slot.
BATCH = 100
# Newcomers may have kept it from a slot for as long as one waits for a lock.
PATIENCE = 5
# Seconds. As long before the opening a request is got ready: see prebookings_sync_jobs.
AHEAD = 4.0
LIMIT = 60.0


def run_openings(db: Database) -> Handler:
    """Who gives places of ours to the prebookings whose opening has come."""

    async def run(job: Job) -> Outcome:
        succeeded = failed = 0
        for _ in range(PATIENCE):
            try:
                remaining = 1
                while remaining:
                    row = await queries.run_openings(db, ACTOR, UUID(job.payload["resource_id"]), BATCH)
                    remaining = row["remaining"]
                    succeeded += row["succeeded"]
                    failed += row["failed"]
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                continue
            return Ok({"succeeded": succeeded, "failed": failed})
        return Retry("the slots are busy")

    return Handler("run_openings", run, queue="openings", limit=LIMIT, needs=1.0)


def execute_prebooking(db: Database, settings: Settings) -> Handler:
    """Who books at providers."""
    means = Means(db, settings, SharedClocks(), cache(find_adapter))

    async def run(job: Job) -> Outcome:
        prebooking_id = UUID(job.payload["prebooking_id"])
        plan = await queries.begin_prebooking(db, ACTOR, prebooking_id)
        if plan is None:
            return Skip("it was cancelled, or is over")
        return await Execution(means, job, prebooking_id, plan).run()

    return Handler("execute_prebooking", run, queue="provider:*", limit=LIMIT, needs=AHEAD + 1)
