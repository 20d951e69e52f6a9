"""PgQueuer, driven as benchmarks/queues/holdfast.py drives ours. Run with -P, lest this file hide the package.

A batch as large as made it fastest here; all else, and what is durable, as it comes.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import asyncpg
import uvloop
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver  # type: ignore[import-not-found]
from pgqueuer.models import Job  # type: ignore[import-not-found]
from pgqueuer.qm import QueueManager  # type: ignore[import-not-found]
from pgqueuer.queries import Queries  # type: ignore[import-not-found]

BATCH = 1_000
FILL_BATCH = 10_000
LOOK = 0.005
LEAD = 2.0

# by the primary key: it is asked with a million rows in the table
IS_UNSETTLED = "SELECT EXISTS (SELECT FROM pgqueuer WHERE id > $1)"
LAST = "SELECT COALESCE(max(id), 0) FROM pgqueuer"


async def prepare(queries: Queries, _connection: asyncpg.Connection, count: int) -> dict[str, Any]:
    """Make the schema and jobs of the far future."""
    await queries.install()
    for first in range(0, count, FILL_BATCH):
        size = min(FILL_BATCH, count - first)
        later = [timedelta(days=30, seconds=first + n) for n in range(size)]
        await queries.enqueue(["noop"] * size, [None] * size, [0] * size, later)
    return {"version": version("pgqueuer"), "settings": f"batch_size {BATCH}, asyncpg"}


async def drain(queries: Queries, connection: asyncpg.Connection, count: int) -> dict[str, Any]:
    """Do no-ops."""
    await _drain(queries, connection, count // 10 or 1)
    return await _drain(queries, connection, count)


async def _drain(queries: Queries, connection: asyncpg.Connection, count: int) -> dict[str, Any]:
    starts: list[float] = []

    async def noop(_job: Job) -> None:
        starts.append(time.perf_counter())

    last = await connection.fetchval(LAST)
    await _fill(queries, connection, count, None)
    async with _working(queries, noop):
        while len(starts) < count or await connection.fetchval(IS_UNSETTLED, last):  # noqa: ASYNC110 - so of every system
            await asyncio.sleep(LOOK)
        seconds = time.perf_counter() - starts[0]
    return {"seconds": seconds, "done": len(starts)}


async def lateness(queries: Queries, connection: asyncpg.Connection, count: int) -> dict[str, Any]:
    """Do what is due at one instant."""
    await _drain(queries, connection, count)
    late: list[float] = []

    async def mark(job: Job) -> None:
        late.append((time.time() - job.execute_after.timestamp()) * 1000)

    await _fill(queries, connection, count, timedelta(seconds=LEAD + random.random()))  # noqa: S311 - no secret
    async with _working(queries, mark):
        while len(late) < count:  # noqa: ASYNC110 - so of every system
            await asyncio.sleep(LOOK)
    return {"late_ms": late, "done": len(late)}


async def _fill(queries: Queries, connection: asyncpg.Connection, count: int, later: timedelta | None) -> None:
    # one statement, and so one instant
    await queries.enqueue(["noop"] * count, [None] * count, [0] * count, [later] * count)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")


@asynccontextmanager
async def _working(queries: Queries, handler: Callable[[Job], Awaitable[None]]) -> AsyncIterator[None]:
    manager = QueueManager(queries)
    manager.entrypoint("noop")(handler)
    task = asyncio.create_task(manager.run(batch_size=BATCH))
    yield
    manager.shutdown.set()
    await task


async def main() -> None:
    """Do what the command line says, and print one line."""
    what, url, count = sys.argv[1:]
    work = {"prepare": prepare, "drain": drain, "lateness": lateness}[what]
    connection = await asyncpg.connect(url)
    async with asyncpg.create_pool(url) as pool:
        print(json.dumps(await work(Queries(AsyncpgPoolDriver(pool)), connection, int(count))))
    await connection.close()


if __name__ == "__main__":
    uvloop.run(main())
