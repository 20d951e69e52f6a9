"""One bounded run over the work that is due.

Everything here is set-based: the database does the work in short transactions of its own, and this loop only decides
whether there is time for another. Any number of runs may overlap; rows that one holds, the others skip.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable

import structlog

from app.database import Database
from app.jobs import queries
from app.jobs.schemas import RunReport
from app.security import Actor

# Seconds. A caller with a limit of 10 has its answer in every case: no batch begins after the work budget, the one in
# hand is given up (it rolls back and stays due) after the grace, and counting what is left may not take longer.
WORK_BUDGET = 8.0
GRACE = 1.0
COUNT_PATIENCE = 0.5

BATCH_SIZE = 500

logger = structlog.get_logger(__name__)

Sweep = Callable[[Database, Actor, int], Awaitable[int]]

# What counts as a job done. Holds first: each frees a place that somebody may be waiting for.
SWEEPS: tuple[Sweep, ...] = (queries.expire_due_bookings, queries.complete_due_bookings)
HOUSEKEEPING: tuple[Sweep, ...] = (queries.prune_idempotency_keys,)


async def process_jobs(
    db: Database, actor: Actor, *, budget: float = WORK_BUDGET, clock: Callable[[], float] = time.monotonic
) -> RunReport:
    """Do what is due until nothing is left or `budget` seconds are over, and report.

    Raises what the database raises; batches that had committed by then stay done.
    """
    started = clock()
    instance_id = f"run_{uuid.uuid4().hex[:12]}"
    processed = 0

    def out_of_time() -> bool:
        return clock() - started >= budget

    try:
        async with asyncio.timeout(budget + GRACE):
            for sweep in (*SWEEPS, *HOUSEKEEPING):
                done = BATCH_SIZE
                while done == BATCH_SIZE and not out_of_time():
                    done = await sweep(db, actor, BATCH_SIZE)
                    processed += done if sweep in SWEEPS else 0
    except TimeoutError:
        logger.warning("batch given up", instance_id=instance_id)

    remaining_due, oldest_due_age_ms = await _what_is_left(db)
    report = RunReport(
        instance_id=instance_id,
        claimed=processed,
        processed=processed,
        remaining_due=remaining_due,
        oldest_due_age_ms=oldest_due_age_ms,
        elapsed_ms=round((clock() - started) * 1000),
        budget_exhausted=out_of_time(),
    )
    logger.info("jobs processed", **report.model_dump())
    return report


async def _what_is_left(db: Database) -> tuple[int | None, int | None]:
    try:
        async with asyncio.timeout(COUNT_PATIENCE):
            due = await queries.due_jobs(db)
    except TimeoutError:
        return None, None
    return due["remaining_due"], due["oldest_due_age_ms"]
