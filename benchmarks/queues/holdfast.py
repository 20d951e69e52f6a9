"""Our worker, driven as its peers are: `python -m benchmarks.queues.holdfast WHAT URL COUNT` says one line of JSON.

`prepare` makes the schema and COUNT jobs of the far future, `drain` does COUNT no-ops, `lateness` does COUNT jobs that
are due at one instant, `run-lateness` does the same in a bounded run, and `claims` claims ten jobs COUNT times. The
worker has its defaults, and the event loop and the collector of garbage that `holdfast worker` gives it.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import asyncpg
import uvloop

from app.database import Database, open_database
from app.garbage import spare_what_stays
from app.handlers import Handler, Job, Ok, Outcome
from app.jobs.processor import process_jobs
from app.jobs.worker import CONCURRENCY, working
from app.log import configure_logging
from app.migrate import migrate
from app.security import Actor
from app.settings import Settings
from benchmarks.database import SCHEMA
from benchmarks.queues.claims import CLAIM, claim_ten

FILL_BATCH = 50_000
# Seconds: so often it is looked whether all is settled, and so far ahead a job is due; the rest is left to chance, lest
# it suit somebody's polling.
LOOK = 0.005
LEAD = 2.0

ADD_DUE = "SELECT enqueue_job('noop', p_run_at => $2) FROM generate_series(1, $1::integer)"
# as enqueue_job writes them, many at a time
ADD_FUTURE = """
INSERT INTO jobs (job_type, queue, dedupe_key, scheduled_at, run_at)
SELECT 'noop', 'default', gen_random_uuid()::text, later, later
FROM generate_series($1::integer, $2::integer) n
CROSS JOIN LATERAL (SELECT now() + interval '30 days' + n * interval '1 second') at (later)
"""
# by indexes: it is asked with a million rows in the table
IS_UNSETTLED = """
SELECT EXISTS (SELECT FROM jobs WHERE queue = 'default' AND status = 'processing')
  OR EXISTS (SELECT FROM jobs WHERE queue = 'default' AND priority = 1 AND status = 'pending' AND run_at <= now())
"""

Do = Callable[[Job], Awaitable[Outcome]]


async def prepare(_db: Database, _settings: Settings, connection: asyncpg.Connection, count: int) -> dict[str, Any]:
    """Fill in the future, and say who we are."""
    for first in range(1, count + 1, FILL_BATCH):
        await connection.execute(ADD_FUTURE, first, min(first + FILL_BATCH - 1, count))
    return {"version": version("holdfast"), "settings": f"concurrency {CONCURRENCY}"}


async def drain(db: Database, settings: Settings, connection: asyncpg.Connection, count: int) -> dict[str, Any]:
    """The seconds from the first handler's start until all are settled. A tenth of the jobs goes before, unmeasured."""
    await _drain(db, settings, connection, count // 10 or 1)
    return await _drain(db, settings, connection, count)


async def _drain(db: Database, settings: Settings, connection: asyncpg.Connection, count: int) -> dict[str, Any]:
    starts: list[float] = []

    async def noop(_job: Job) -> Outcome:
        starts.append(time.perf_counter())
        return Ok()

    await _fill(connection, count, datetime.now(UTC))
    async with working(db, settings, (Handler("noop", noop),)):
        while len(starts) < count or await connection.fetchval(IS_UNSETTLED):  # noqa: ASYNC110 - so of every system
            await asyncio.sleep(LOOK)
        seconds = time.perf_counter() - starts[0]
    return {"seconds": seconds, "done": len(starts)}


async def lateness(db: Database, settings: Settings, connection: asyncpg.Connection, count: int) -> dict[str, Any]:
    """The milliseconds from the instant at which all are due until each handler's start."""
    await _drain(db, settings, connection, count)
    return await _lateness(connection, count, lambda *handlers: working(db, settings, handlers))


async def run_lateness(db: Database, _settings: Settings, connection: asyncpg.Connection, count: int) -> dict[str, Any]:
    """The same of a bounded run that is under way at the instant."""

    @asynccontextmanager
    async def run(*handlers: Handler) -> AsyncIterator[None]:
        bounded = asyncio.create_task(process_jobs(db, Actor("system", "benchmark"), handlers))
        yield
        await bounded

    return await _lateness(connection, count, run)


async def _lateness(
    connection: asyncpg.Connection, count: int, at_work: Callable[..., AbstractAsyncContextManager[None]]
) -> dict[str, Any]:
    late: list[float] = []

    async def mark(job: Job) -> Outcome:
        late.append((time.time() - job.scheduled_at.timestamp()) * 1000)
        return Ok()

    await _fill(connection, count, datetime.now(UTC) + timedelta(seconds=LEAD + random.random()))  # noqa: S311
    async with at_work(Handler("noop", mark)):
        while len(late) < count:  # noqa: ASYNC110 - so of every system
            await asyncio.sleep(LOOK)
    return {"late_ms": late, "done": len(late)}


async def claims(db: Database, _settings: Settings, connection: asyncpg.Connection, count: int) -> dict[str, Any]:
    """The milliseconds of each claim of ten jobs, as the processor makes it; settled in between, unmeasured."""
    await _fill(connection, count * CLAIM, datetime.now(UTC))
    took = [(await claim_ten(db))[1] for _ in range(count)]
    return {"claim_ms": took, "done": len(took)}


async def _fill(connection: asyncpg.Connection, count: int, due: datetime) -> None:
    await connection.execute(ADD_DUE, count, due)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")


async def _run(
    work: Callable[[Database, Settings, asyncpg.Connection, int], Coroutine[Any, Any, dict[str, Any]]],
    settings: Settings,
    count: int,
) -> dict[str, Any]:
    connection = await asyncpg.connect(settings.dsn, server_settings={"search_path": SCHEMA})
    try:
        async with open_database(settings) as db:
            return await work(db, settings, connection, count)
    finally:
        await connection.close()


def main() -> None:
    """Do what the command line says, and print one line."""
    what, url, count = sys.argv[1:]
    settings = Settings.model_validate({"database_url": url, "log_level": "error"})
    configure_logging(settings.log_level)
    if what == "prepare":
        migrate(settings)
    work = {
        "prepare": prepare,
        "drain": drain,
        "lateness": lateness,
        "run-lateness": run_lateness,
        "claims": claims,
    }[what]
    spare_what_stays()
    print(json.dumps(uvloop.run(_run(work, settings, int(count)))))


if __name__ == "__main__":
    main()
