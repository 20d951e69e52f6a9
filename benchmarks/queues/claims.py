"""Claims as the processor makes them, one after the other or at full speed."""

import asyncio
import time
from collections.abc import Callable

import asyncpg

from app.database import Database, open_database
from app.jobs import queries
from app.settings import Settings
from benchmarks.database import SCHEMA

QUEUE = "default"
CLAIM = 10
LEASE = 60.0
CALLERS = 4

ADD_DUE = "SELECT enqueue_job('noop') FROM generate_series(1, $1::integer)"
COUNT_NOT_DONE_ONCE = """
SELECT count(*) FROM jobs WHERE job_type = 'noop' AND (status, attempt, lease_token) <> ('processed', 1, 1)
"""


async def claim_ten(db: Database) -> tuple[int, float]:
    """How many of ten jobs a claim got, and in how many milliseconds; they are settled after that, unmeasured."""
    began = time.perf_counter()
    jobs = await queries.claim_jobs(db, "benchmark", QUEUE, CLAIM, LEASE)
    took = (time.perf_counter() - began) * 1000
    if jobs:
        await queries.settle_jobs(
            db, [{"id": str(job.id), "lease_token": job.lease_token, "outcome": "processed"} for job in jobs]
        )
    return len(jobs), took


async def claims_for(settings: Settings, seconds: float) -> list[float]:
    """As `claims_while`, for so many seconds."""
    ends_at = time.perf_counter() + seconds
    return await claims_while(settings, lambda: time.perf_counter() < ends_at)


async def claims_while(settings: Settings, goes_on: Callable[[], bool]) -> list[float]:
    """The milliseconds of each claim, in order of size, while a few callers enqueue, claim and settle without a pause.

    Raises RuntimeError unless every job was claimed and settled exactly once.
    """
    async with open_database(settings) as db:
        shares = await asyncio.gather(*(_call(db, settings, goes_on) for _ in range(CALLERS)))
        while (await claim_ten(db))[0]:
            pass
    connection = await asyncpg.connect(settings.dsn, server_settings={"search_path": SCHEMA})
    wrong = await connection.fetchval(COUNT_NOT_DONE_ONCE)
    await connection.close()
    if wrong:
        msg = f"{wrong} jobs were not claimed and settled exactly once"
        raise RuntimeError(msg)
    return sorted(took for share in shares for took in share)


async def _call(db: Database, settings: Settings, goes_on: Callable[[], bool]) -> list[float]:
    took: list[float] = []
    connection = await asyncpg.connect(settings.dsn, server_settings={"search_path": SCHEMA})
    while goes_on():
        await connection.execute(ADD_DUE, CLAIM)
        took.append((await claim_ten(db))[1])
    await connection.close()
    return took
