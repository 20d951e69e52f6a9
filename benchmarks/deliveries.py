"""Webhook deliveries a second beside no-ops of the same worker: `python -m benchmarks.deliveries [--quick]`.

Every delivery is of a booking of its own, signed, sent over a connection of its own to a receiver in another process,
and on record with its answer; it fails unless each event arrived exactly once.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx2
import uvloop
from pydantic import SecretStr
from rich.console import Console

from app.database import Database, open_database
from app.encryption import EncryptionKeys, new_encryption_key
from app.handlers import Handler, Job, Ok, Outcome
from app.jobs.worker import working
from app.log import configure_logging
from app.main import handlers_of
from app.migrate import migrate
from app.settings import Settings
from app.webhooks.signing import new_secret
from app.webhooks.vault import seal
from benchmarks.database import SCHEMA, BackDoor
from benchmarks.figures import compare
from benchmarks.machine import Machine, describe
from benchmarks.queues.table import show_rate, show_ratio
from benchmarks.seed import ACTOR
from benchmarks.server import ROOT, durable_postgres, settings_for

PER_SLOT = 100
LOOK = 0.01

ADD_SLOTS = """
WITH place AS (INSERT INTO resources (name, timezone) VALUES ('Benchmark', 'UTC') RETURNING id)
INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings)
SELECT id, at, at + interval '1 hour', $1
FROM place, generate_series(1, $2::integer) n CROSS JOIN LATERAL (SELECT now() + n * interval '1 day') later (at)
RETURNING id
"""
ADD_BOOKINGS = """
INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status)
SELECT s.resource_id, s.id, s.starts_at, s.ends_at, $2, 'confirmed'
FROM slots s, generate_series(1, $3::integer) WHERE s.id = $1
"""
IS_UNSETTLED = "SELECT EXISTS (SELECT FROM jobs WHERE queue = $1 AND status IN ('pending', 'processing'))"


@dataclass(frozen=True)
class Rates:
    """What was done in a second, round by round."""

    noops: list[float]
    deliveries: list[float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deliveries", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of 1,000 instead of three of 10,000")
    options = parser.parse_args()
    # told to end, we still stop the servers and remove the data
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    configure_logging("error")
    rounds, count = (1, 1000) if options.quick else (3, 10_000)
    pg_bin = os.environ.get("PG_BIN")
    machine, rates = measure(rounds, count, Path(pg_bin) if pg_bin else None)
    show(machine, rates, count, Console())


def measure(rounds: int, count: int, pg_bin: Path | None) -> tuple[Machine, Rates]:
    """Drain both, in turns. Raises RuntimeError where an event did not arrive exactly once."""
    with durable_postgres(pg_bin) as postgres, receiver() as url:
        changes = {"encryption_keys": SecretStr(new_encryption_key()), "webhook_allowed_networks": ("127.0.0.0/8",)}
        settings = Settings.model_validate(settings_for(postgres.url).model_dump() | changes)
        migrate(settings)
        machine = BackDoor(postgres.url).run(lambda connection: describe(connection, postgres.data_dir))
        return machine, uvloop.run(_measure(settings, url, rounds, count))


@contextlib.contextmanager
def receiver() -> Iterator[str]:
    """Where events are received, for as long as the block runs."""
    command = [sys.executable, "-m", "benchmarks.receiver"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout  # noqa: S101 - as asked for
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def _measure(settings: Settings, url: str, rounds: int, count: int) -> Rates:
    connection = await asyncpg.connect(settings.dsn, server_settings={"search_path": SCHEMA})
    await _add_endpoint(connection, settings, url)
    rates = Rates([], [])
    async with open_database(settings) as db, httpx2.AsyncClient() as client:
        for round_ in range(1, rounds + 1):
            await connection.execute("SELECT enqueue_job('noop') FROM generate_series(1, $1::integer)", count)
            rates.noops.append(await _drain(connection, db, settings, "default", count))
            await _book(connection, count)
            rates.deliveries.append(await _drain(connection, db, settings, "webhooks", count))
            received = (await client.get(url)).json()
            if received != {"requests": round_ * count, "ids": round_ * count}:
                msg = f"{round_ * count} were sent, and {received} received"
                raise RuntimeError(msg)
    await connection.close()
    return rates


async def _add_endpoint(connection: asyncpg.Connection, settings: Settings, url: str) -> None:
    endpoint_id, keys = uuid4(), settings.keys_of_credentials or EncryptionKeys("")
    await connection.execute(
        "SELECT create_webhook_endpoint($1, $2, $3, '{booking.created}', NULL, $4, $5, $6)",
        *(ACTOR, endpoint_id, url, *seal(keys, endpoint_id, new_secret())),
    )


async def _book(connection: asyncpg.Connection, count: int) -> None:
    customer_id = await connection.fetchval("INSERT INTO customers (name) VALUES ('Benchmark') RETURNING id")
    for (slot_id,) in await connection.fetch(ADD_SLOTS, PER_SLOT, count // PER_SLOT):
        await connection.execute(ADD_BOOKINGS, slot_id, customer_id, PER_SLOT)


async def _drain(connection: asyncpg.Connection, db: Database, settings: Settings, queue: str, count: int) -> float:
    async def noop(_job: Job) -> Outcome:
        return Ok()

    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    began = time.perf_counter()
    async with working(db, settings, (*handlers_of(db, settings), Handler("noop", noop))):
        while await connection.fetchval(IS_UNSETTLED, queue):  # noqa: ASYNC110 - of the database
            await asyncio.sleep(LOOK)
        return count / (time.perf_counter() - began)


def show(machine: Machine, rates: Rates, count: int, console: Console) -> None:
    """Two figures and their ratio."""
    ratio = show_ratio(compare(rates.deliveries, rates.noops))
    console.print(f"{count:,} webhooks to one receiver: {show_rate(rates.deliveries)} a second", highlight=False)
    console.print(f"{count:,} no-ops: {show_rate(rates.noops)} a second; webhooks to no-ops {ratio}", highlight=False)
    console.print(
        f"{machine.date}, {machine.cores} cores, load {machine.load_average} at the start, "
        f"Postgres {machine.postgres}.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
