"""Procrastinate, driven as benchmarks/queues/holdfast.py drives ours. Run with -P, lest this file hide the package.

As many jobs at once as made it fastest here, and it looks for delayed jobs ten times a second instead of every five.
"""

import asyncio
import json
import logging
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import uvloop
from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found]
from psycopg import AsyncConnection  # type: ignore[import-not-found]

CONCURRENCY = 50
CONNECTIONS = 10
POLL = 0.1
LOOK = 0.005
LEAD = 2.0

IS_UNSETTLED = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"


class Starts(list[float]):
    """When each handler started."""

    async def noop(self) -> None:
        """Do nothing else."""
        self.append(time.time())


async def prepare(app: App, _starts: Starts, _connection: AsyncConnection, _count: int) -> dict[str, Any]:
    """Make the schema."""
    await app.schema_manager.apply_schema_async()
    return {"version": version("procrastinate"), "settings": f"concurrency {CONCURRENCY}, looks every {POLL} s"}


async def drain(app: App, starts: Starts, connection: AsyncConnection, count: int) -> dict[str, Any]:
    """Do no-ops."""
    await _drain(app, starts, connection, count // 10 or 1)
    return await _drain(app, starts, connection, count)


async def _drain(app: App, starts: Starts, connection: AsyncConnection, count: int) -> dict[str, Any]:
    starts.clear()
    await _fill(app, connection, count, None)
    async with _working(app):
        while len(starts) < count or (await (await connection.execute(IS_UNSETTLED)).fetchone())[0]:  # noqa: ASYNC110 - so of every system
            await asyncio.sleep(LOOK)
        seconds = time.time() - starts[0]
    return {"seconds": seconds, "done": len(starts)}


async def lateness(app: App, starts: Starts, connection: AsyncConnection, count: int) -> dict[str, Any]:
    """Do what is due at one instant."""
    await _drain(app, starts, connection, count)
    starts.clear()
    due = datetime.now(UTC) + timedelta(seconds=LEAD + random.random())  # noqa: S311 - no secret
    await _fill(app, connection, count, due)
    async with _working(app):
        while len(starts) < count:  # noqa: ASYNC110 - so of every system
            await asyncio.sleep(LOOK)
    return {"late_ms": [(start - due.timestamp()) * 1000 for start in starts], "done": len(starts)}


async def _fill(app: App, connection: AsyncConnection, count: int, due: datetime | None) -> None:
    await app.tasks["noop"].configure(schedule_at=due).batch_defer_async(*({} for _ in range(count)))
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")


@asynccontextmanager
async def _working(app: App) -> AsyncIterator[None]:
    task = asyncio.create_task(
        app.run_worker_async(concurrency=CONCURRENCY, fetch_job_polling_interval=POLL, install_signal_handlers=False)
    )
    yield
    # it takes this for a wish to stop, and ends what it has begun
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def main() -> None:
    """Do what the command line says, and print one line."""
    what, url, count = sys.argv[1:]
    logging.disable(logging.WARNING)
    work = {"prepare": prepare, "drain": drain, "lateness": lateness}[what]
    app = App(connector=PsycopgConnector(conninfo=url, min_size=CONNECTIONS, max_size=CONNECTIONS))
    starts = Starts()
    app.task(name="noop")(starts.noop)
    async with app.open_async(), await AsyncConnection.connect(url, autocommit=True) as connection:
        print(json.dumps(await work(app, starts, connection, int(count))))


if __name__ == "__main__":
    uvloop.run(main())
