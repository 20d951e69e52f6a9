"""Measure the job engine beside its peers: `python -m benchmarks.queues [--quick] [--only NAME] [--json FILE]`."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from app.log import configure_logging
from benchmarks.database import BackDoor
from benchmarks.machine import describe
from benchmarks.queues.backlog import measure_backlog
from benchmarks.queues.bench import Bench
from benchmarks.queues.commits import measure_commits
from benchmarks.queues.completing import measure_completing
from benchmarks.queues.drain import measure_drain
from benchmarks.queues.lateness import measure_lateness
from benchmarks.queues.overlap import measure_overlap
from benchmarks.queues.plan import FULL, QUICK, QueuePlan
from benchmarks.queues.pruning import measure_pruning
from benchmarks.queues.report import Measured, QueueReport
from benchmarks.queues.snapshot import measure_snapshot
from benchmarks.queues.systems import find_systems
from benchmarks.queues.trigger import measure_trigger
from benchmarks.server import durable_postgres

MEASUREMENTS: dict[str, Callable[[Bench], Measured]] = {
    "drain": measure_drain,
    "backlog": measure_backlog,
    "completing": measure_completing,
    "lateness": measure_lateness,
    "overlap": measure_overlap,
    "trigger": measure_trigger,
    "snapshot": measure_snapshot,
    "prune": measure_pruning,
    "commits": measure_commits,
}


def main() -> None:
    """Measure, print the table, and write the figures where asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queues", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute; its figures mean little")
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, help="this alone; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    options = parser.parse_args()
    # told to end, we still stop the server and remove the data
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    configure_logging("error")
    pg_bin = os.environ.get("PG_BIN")
    report = measure(
        QUICK if options.quick else FULL,
        options.only or list(MEASUREMENTS),
        Path(pg_bin) if pg_bin else None,
        Console(stderr=True),
    )
    report.print(Console())
    if options.json:
        options.json.write_text(json.dumps(report.json(), indent=2) + "\n")


def measure(plan: QueuePlan, names: list[str], pg_bin: Path | None, progress: Console) -> QueueReport:
    """Run these measurements on a Postgres of their own. Raises RuntimeError when anything went wrong on the way."""
    systems = find_systems(progress)
    with durable_postgres(pg_bin) as postgres:
        machine = BackDoor(postgres.url).run(lambda connection: describe(connection, postgres.data_dir))
        bench = Bench(postgres.url, plan, systems, pg_bin, progress)
        measured = {}
        for name in names:
            progress.print(f"measuring: {name}")
            measured[name] = MEASUREMENTS[name](bench)
    return QueueReport(machine, plan, measured, bench.facts)


if __name__ == "__main__":
    main()
