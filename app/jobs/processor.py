"""One bounded run over the work that is due.

Everything here is set-based: the database does the work in short transactions of its own, and this loop only decides
whether there is time for another. Any number of runs may overlap; rows that one holds, the others skip.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import NamedTuple

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

logger = structlog.get_logger(__name__)


class Sweep(NamedTuple):
    """All due work of one kind, batch by batch: each call answers how much it did."""

    run: Callable[[Database, Actor, int], Awaitable[int]]
    batch_size: int = 500
    settles_jobs: bool = True


SWEEPS = (
    # first, for each frees a place that somebody may be waiting for
    Sweep(queries.expire_due_bookings),
    Sweep(queries.complete_due_bookings),
    # one resource a transaction: see the function
    Sweep(queries.refresh_due_schedules, batch_size=1),
    Sweep(queries.close_waitlists, settles_jobs=False),
    Sweep(queries.prune_idempotency_keys, settles_jobs=False),
)


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
            for sweep in SWEEPS:
                done = sweep.batch_size
                while done == sweep.batch_size and not out_of_time():
                    done = await sweep.run(db, actor, sweep.batch_size)
                    processed += done if sweep.settles_jobs else 0
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
