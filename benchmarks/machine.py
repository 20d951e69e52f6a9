"""Where the figures come from: without it they mean nothing."""

import os
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile

import asyncpg

FLUSHES = 50
PAGE = bytes(8192)


@dataclass(frozen=True)
class Machine:
    """The machine, the server, and what it costs here to make a write durable."""

    date: str
    cores: int
    load_average: float
    """Runnable processes when the run began: what else the machine was doing."""
    postgres: str
    fsync: str
    synchronous_commit: str
    flush_ms: float
    """The median time of one fsync of a page, in the folder that Postgres writes to."""


async def describe(connection: asyncpg.Connection, data_dir: Path) -> Machine:
    """The machine we are on, with this server on it."""
    return Machine(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        cores=os.cpu_count() or 0,
        load_average=round(os.getloadavg()[0], 1),
        postgres=await connection.fetchval("SHOW server_version"),
        fsync=await connection.fetchval("SHOW fsync"),
        synchronous_commit=await connection.fetchval("SHOW synchronous_commit"),
        flush_ms=_flush_ms(data_dir),
    )


def _flush_ms(folder: Path) -> float:
    times = []
    with TemporaryFile(dir=folder) as file:
        for _ in range(FLUSHES):
            file.write(PAGE)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000
