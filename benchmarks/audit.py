"""What the audit trail costs a booking, in the database and over HTTP: `python -m benchmarks.audit [--quick]`."""

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.table import Table

from app.embedded import find_binaries
from app.migrate import migrate
from benchmarks.booking import spread
from benchmarks.database import BackDoor
from benchmarks.figures import compare
from benchmarks.http import Http
from benchmarks.machine import describe
from benchmarks.pgbench import PgBench
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.seed import seed
from benchmarks.server import api, durable_postgres, settings_for

# what writes a booking's rows of the trail
WRITERS = {
    "bookings": ("bookings_write_audit",),
    "customers": ("customers_write_audit",),
    "slots": ("slots_write_audit_on_insert", "slots_write_audit_on_update", "slots_write_audit_when_full"),
}
WAYS = {"with the trail": "ENABLE", "without it": "DISABLE"}
BASE = "without it"
Book = Callable[[float], float]
"""Books for so many seconds, and answers how many a second."""
SIZE = """
    SELECT e.entries, e.row, p.in_table / e.entries AS in_table, p.in_indexes / e.entries AS in_indexes
    FROM (SELECT count(*) AS entries, avg(pg_column_size(a.*))::int AS row FROM audit_log a) e, (
      SELECT sum(pg_table_size(t.relid))::bigint AS in_table, sum(pg_indexes_size(t.relid))::bigint AS in_indexes
      FROM (
        SELECT p.relid FROM pg_partition_tree('audit_log') p WHERE p.isleaf UNION ALL SELECT 'audit_chains'::regclass
      ) t
    ) p
"""


def main() -> None:
    """Book in turns with the trail and without it; print medians, ratios, and bytes an entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean little")
    plan = QUICK if parser.parse_args().quick else FULL
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    pg_bin = Path(os.environ["PG_BIN"]) if "PG_BIN" in os.environ else None
    with durable_postgres(pg_bin) as postgres:
        settings = settings_for(postgres.url)
        migrate(settings)
        database = BackDoor(postgres.url)
        Console().print(database.run(lambda connection: describe(connection, postgres.data_dir)))
        api_key = database.run(lambda connection: seed(connection, plan))
        pgbench, target = PgBench(find_binaries(pg_bin), postgres.url, plan.customers), spread(plan.slots)
        with api(settings) as port:
            http = Http(port, api_key, plan.customers)
            doors: dict[str, Book] = {
                "in the database": lambda seconds: pgbench.run(target, seconds).rate,
                "over HTTP": lambda seconds: http.run(target, seconds).rate,
            }
            rates = {name: _measure(database, book, plan) for name, book in doors.items()}
        size = database.run(_size)
        seconds = database.run(_verify)
    for name, measured in rates.items():
        _show(name, measured)
    Console().print(
        f"{size['entries']:,} entries: {size['row']} bytes a row, {size['in_table']} in the table"
        f" and {size['in_indexes']} in indexes"
    )
    Console().print(f"verified in {seconds:.1f} s, {seconds / size['entries'] * 1_000_000:.0f} µs an entry")


def _measure(database: BackDoor, book: Book, plan: Plan) -> dict[str, list[float]]:
    """Bookings a second by way, round by round; every second round the other way round, since tables grow."""
    book(plan.warm_up_seconds or 1)
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(4 * plan.rounds):
        for way in list(WAYS)[:: -1 if turn % 2 else 1]:
            _switch(database, WAYS[way])
            database.checkpoint()
            rates[way].append(book(plan.seconds / 2))
    _switch(database, "ENABLE")
    return rates


def _switch(database: BackDoor, way: str) -> None:
    switch = [f"ALTER TABLE {table} {way} TRIGGER {name}" for table, names in WRITERS.items() for name in names]
    database.run(lambda connection: connection.execute("; ".join(switch)))


async def _size(connection: asyncpg.Connection) -> asyncpg.Record:
    (size,) = await connection.fetch(SIZE)
    return size


async def _verify(connection: asyncpg.Connection) -> float:
    """Seconds. What was booked without a trail is found, and left out: the time is that of looking."""
    began = time.perf_counter()
    await connection.fetchval("SELECT verify_audit_log(0)")
    return time.perf_counter() - began


def _show(door: str, rates: dict[str, list[float]]) -> None:
    table = Table(f"bookings {door}", "per second", "ratio")
    for way, measured in rates.items():
        ratio = compare(measured, rates[BASE])
        share = f"{ratio.median:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})"
        table.add_row(way, f"{statistics.median(measured):,.0f}", share if way != BASE else "")
    Console().print(table)


if __name__ == "__main__":
    main()
