"""What the audit trail costs a booking: `python -m benchmarks.audit [--quick]`."""

import argparse
import os
import signal
import statistics
import sys
import time
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.table import Table

from app.embedded import find_binaries
from app.migrate import migrate
from benchmarks.booking import spread
from benchmarks.database import BackDoor
from benchmarks.machine import describe
from benchmarks.pgbench import PgBench
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.seed import seed
from benchmarks.server import durable_postgres, settings_for

# what writes a booking's rows of the trail
WRITERS = {
    "bookings": ("bookings_write_audit",),
    "customers": ("customers_write_audit",),
    "slots": ("slots_write_audit_on_insert", "slots_write_audit_on_update", "slots_write_audit_when_full"),
}
SIZE = """
    SELECT count(*) AS entries, avg(pg_column_size(a.*))::int AS row, pg_table_size('audit_log') / count(*) AS in_table,
      pg_indexes_size('audit_log') / count(*) AS in_indexes
    FROM audit_log a
"""


def main() -> None:
    """Book in turns with the trail and without it; print medians and ratios, and bytes an entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean little")
    plan = QUICK if parser.parse_args().quick else FULL
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    pg_bin = Path(os.environ["PG_BIN"]) if "PG_BIN" in os.environ else None
    with durable_postgres(pg_bin) as postgres:
        migrate(settings_for(postgres.url))
        database = BackDoor(postgres.url)
        Console().print(database.run(lambda connection: describe(connection, postgres.data_dir)))
        database.run(lambda connection: seed(connection, plan))
        rates = _measure(database, PgBench(find_binaries(pg_bin), postgres.url, plan.customers), plan)
        size = database.run(_size)
        seconds = database.run(_verify)
    _show(rates, size)
    Console().print(f"verified in {seconds:.1f} s, {seconds / size['entries'] * 1_000_000:.0f} µs an entry")


def _measure(database: BackDoor, pgbench: PgBench, plan: Plan) -> list[tuple[float, float]]:
    pgbench.run(spread(plan.slots), plan.warm_up_seconds or 1)
    return [
        (_book(database, pgbench, plan, "ENABLE"), _book(database, pgbench, plan, "DISABLE"))
        for _ in range(plan.rounds)
    ]


def _book(database: BackDoor, pgbench: PgBench, plan: Plan, how: str) -> float:
    switch = [f"ALTER TABLE {table} {how} TRIGGER {name}" for table, names in WRITERS.items() for name in names]
    database.run(lambda connection: connection.execute("; ".join(switch)))
    database.checkpoint()
    return pgbench.run(spread(plan.slots), plan.seconds).rate


async def _size(connection: asyncpg.Connection) -> asyncpg.Record:
    (size,) = await connection.fetch(SIZE)
    return size


async def _verify(connection: asyncpg.Connection) -> float:
    """Seconds. What was booked without a trail is found, and left out: the time is that of looking."""
    began = time.perf_counter()
    await connection.fetchval("SELECT verify_audit_log(0)")
    return time.perf_counter() - began


def _show(rates: list[tuple[float, float]], size: asyncpg.Record) -> None:
    ratios = sorted(trail / bare for trail, bare in rates)
    table = Table("bookings", "per second", "ratio")
    table.add_row("with the trail", f"{statistics.median(trail for trail, _ in rates):,.0f}", "")
    middle = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    table.add_row("without it", f"{statistics.median(bare for _, bare in rates):,.0f}", middle)
    console = Console()
    console.print(table)
    console.print(
        f"{size['entries']:,} entries: {size['row']} bytes a row, {size['in_table']} in the table"
        f" and {size['in_indexes']} in indexes"
    )


if __name__ == "__main__":
    main()
