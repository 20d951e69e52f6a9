"""Run the whole benchmark: `python -m benchmarks [--quick] [--json FILE]`."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from rich.console import Console

from app.embedded import find_binaries
from app.migrate import migrate
from benchmarks.availability import measure_availability, open_half_taken
from benchmarks.booking_runs import measure_bookings
from benchmarks.checks import check_books
from benchmarks.completion import measure_completion
from benchmarks.crowd import measure_crowd
from benchmarks.database import BackDoor
from benchmarks.http import Http
from benchmarks.machine import describe
from benchmarks.pgbench import PgBench
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.report import Report
from benchmarks.schedules import measure_schedules
from benchmarks.seed import seed
from benchmarks.server import api, durable_postgres, settings_for


def main() -> None:
    """Measure, print the table, and write the figures where asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean little")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    options = parser.parse_args()
    # told to end, we still stop the servers and remove the data
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    pg_bin = os.environ.get("PG_BIN")
    report = measure(QUICK if options.quick else FULL, Path(pg_bin) if pg_bin else None, Console(stderr=True))
    report.print(Console())
    if options.json:
        options.json.write_text(json.dumps(report.json(), indent=2) + "\n")


def measure(plan: Plan, pg_bin: Path | None, progress: Console) -> Report:
    """Run all of `plan` on a Postgres of its own. Raises RuntimeError when anything went wrong on the way."""
    with durable_postgres(pg_bin) as postgres:
        settings = settings_for(postgres.url)
        migrate(settings)
        database = BackDoor(postgres.url)
        machine = database.run(lambda connection: describe(connection, postgres.data_dir))
        progress.print("filling the database")
        api_key = database.run(lambda connection: seed(connection, plan))
        pgbench = PgBench(find_binaries(pg_bin), postgres.url, plan.customers)
        progress.print("booking by pgbench and over HTTP, in turns")
        with api(settings) as port:
            http = Http(port, api_key, plan.customers)
            bookings = measure_bookings(pgbench, http, plan, database.checkpoint)
            progress.print("asking what is free by pgbench and over HTTP, in turns")
            question = database.run(open_half_taken)
            availability = measure_availability(pgbench, http, question, plan)
        progress.print("booking in a crowded slot and in an empty one")
        crowd = measure_crowd(pgbench, plan, database.checkpoint)
        progress.print("completing due bookings")
        completion = database.run(lambda connection: measure_completion(connection, settings, plan))
        progress.print("making slots of rules")
        refreshes = database.run(lambda connection: measure_schedules(connection, plan))
        database.run(lambda connection: check_books(connection, http.booked))
    return Report(machine, plan, bookings, availability, crowd, completion, refreshes)


if __name__ == "__main__":
    main()
