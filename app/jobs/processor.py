"""One bounded run over the work that is due.

Everything here is set-based: the database does the work in short transactions of its own, and this loop only decides
whether there is time for another. Any number of runs may overlap; rows that one holds, the others skip.
"""

import time
import uuid
from collections.abc import Awaitable, Callable

import structlog

from app.database import Database
from app.jobs import queries
from app.jobs.schemas import RunReport
from app.security import Actor

# Seconds. Callers with a limit of 10 s get their answer in every case: 8 of work, 2 to finish the batch in hand.
WORK_BUDGET = 8.0
BATCH_SIZE = 500

logger = structlog.get_logger(__name__)

Sweep = Callable[[Database, Actor, int], Awaitable[int]]

# What counts as a job done. Holds first: each frees a place that somebody may be waiting for.
SWEEPS: tuple[Sweep, ...] = (queries.expire_due_bookings, queries.complete_due_bookings)


async def process_jobs(
    db: Database, actor: Actor, *, budget: float = WORK_BUDGET, clock: Callable[[], float] = time.monotonic
) -> RunReport:
    """Do what is due until nothing is left or `budget` seconds are over, and report.

    Raises what the database raises; batches that had committed by then stay done.
    """
    started = clock()
    instance_id = f"run_{uuid.uuid4().hex[:12]}"

    def out_of_time() -> bool:
        return clock() - started >= budget

    processed = 0
    for sweep in SWEEPS:
        while not out_of_time():
            done = await sweep(db, actor, BATCH_SIZE)
            processed += done
            if done < BATCH_SIZE:
                break
    budget_exhausted = out_of_time()
    if not budget_exhausted:
        await queries.prune_idempotency_keys(db, actor, BATCH_SIZE)

    due = await queries.due_jobs(db)
    report = RunReport(
        instance_id=instance_id,
        claimed=processed,
        processed=processed,
        remaining_due=due["remaining_due"],
        oldest_due_age_ms=due["oldest_due_age_ms"],
        elapsed_ms=round((clock() - started) * 1000),
        budget_exhausted=budget_exhausted,
    )
    logger.info("jobs processed", **report.model_dump())
    return report
