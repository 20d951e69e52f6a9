"""What the audit trail costs a booking: `python -m benchmarks.audit [--quick]`."""

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Mapping
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
# what tells webhooks and customers of them
TELLERS = {"audit_log": ("audit_log_deliver_event", "audit_log_make_messages")}
# with all, without telling anybody, and without the trail
WAYS: tuple[Mapping[str, tuple[str, ...]], ...] = ({**WRITERS, **TELLERS}, WRITERS, {})
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
    """Book in turns with the trail, telling nobody, and without it; print medians, ratios, and bytes an entry."""
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


def _measure(database: BackDoor, pgbench: PgBench, plan: Plan) -> list[list[float]]:
    pgbench.run(spread(plan.slots), plan.warm_up_seconds or 1)
    return [[_book(database, pgbench, plan, way) for way in WAYS] for _ in range(plan.rounds)]


def _book(database: BackDoor, pgbench: PgBench, plan: Plan, way: Mapping[str, tuple[str, ...]]) -> float:
    switch = [
        f"ALTER TABLE {table} {'ENABLE' if table in way else 'DISABLE'} TRIGGER {name}"
        for table, names in WAYS[0].items()
        for name in names
    ]
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


def _show(rates: list[list[float]], size: asyncpg.Record) -> None:
    table = Table("bookings", "per second", "ratio")
    for name, way in (("with the trail", 0), ("without telling anybody of it", 1), ("without it", 2)):
        ratios = sorted(rate[way] / rate[2] for rate in rates)
        middle = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        table.add_row(
            name, f"{statistics.median(rate[way] for rate in rates):,.0f}", middle if name != "without it" else ""
        )
    console = Console()
    console.print(table)
    console.print(
        f"{size['entries']:,} entries: {size['row']} bytes a row, {size['in_table']} in the table"
        f" and {size['in_indexes']} in indexes"
    )


if __name__ == "__main__":
    main()
