"""What is left of the rate when more come than can be served: `python -m benchmarks.overload [--seconds N]`."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from app.migrate import migrate
from benchmarks.booking import spread
from benchmarks.database import BackDoor
from benchmarks.http import PATIENCE, Http
from benchmarks.machine import describe
from benchmarks.open_load import Outcome
from benchmarks.plan import QUICK
from benchmarks.seed import seed
from benchmarks.server import ROOT, api, durable_postgres, settings_for

TIMES = (0.5, 1.0, 2.0, 3.0)
"""The rates at which strangers come, as multiples of what sixteen patient clients get done."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="how long each rate lasts")
    seconds = parser.parse_args().seconds
    pg_bin = os.environ.get("PG_BIN")
    with durable_postgres(Path(pg_bin) if pg_bin else None) as postgres:
        settings = settings_for(postgres.url)
        migrate(settings)
        database = BackDoor(postgres.url)
        machine = database.run(lambda connection: describe(connection, postgres.data_dir))
        api_key = database.run(lambda connection: seed(connection, QUICK))
        with api(settings) as port:
            target = spread(QUICK.slots)
            patient = Http(port, api_key, QUICK.customers).run(target, seconds).rate
            order = {
                "port": port,
                "api_key": api_key,
                "clients": 0,
                "seconds": seconds,
                "first_slot": target.first,
                "slots": QUICK.slots,
                "customers": QUICK.customers,
            }
            outcomes = {times: _come({**order, "rate": times * patient}) for times in TIMES}
    _show(patient, outcomes, f"{machine.date}, {machine.cores} cores, load {machine.load_average} at the start")


def _come(order: dict[str, float | str]) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.open_load"],
        cwd=ROOT,
        input=json.dumps(order),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=float(order["seconds"]) + PATIENCE,
    )
    return Outcome(**json.loads(done.stdout))


def _show(patient: float, outcomes: dict[float, Outcome], machine: str) -> None:
    peak = max(patient, *(outcome.done for outcome in outcomes.values()))
    table = Table(title=f"sixteen patient clients: {patient:,.0f} bookings a second; ms", box=box.SIMPLE_HEAD)
    for heading in ("times", "offered", "booked", "%", "p50", "p99", "refused", "p99", "health"):
        table.add_column(heading, justify="right", no_wrap=True)
    for times, outcome in outcomes.items():
        table.add_row(
            f"{times:g}x",
            f"{outcome.offered:,.0f}",
            f"{outcome.done:,.0f}",
            f"{outcome.done / peak:.0%}",
            f"{outcome.done_p50_ms:,.0f}",
            f"{outcome.done_p99_ms:,.0f}",
            f"{outcome.refused:,.0f}",
            f"{outcome.refused_p99_ms:,.0f}",
            f"{outcome.health_p99_ms:,.0f}",
        )
    console = Console()
    console.print(table)
    console.print(machine)
    for times, outcome in outcomes.items():
        if outcome.others:
            console.print(f"{times:g}x, also: {outcome.others}")


if __name__ == "__main__":
    main()
