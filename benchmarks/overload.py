"""What is left of the rate when more come than can be served: `python -m benchmarks.overload [--seconds N]`."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean, median

from rich import box
from rich.console import Console
from rich.table import Table

from app.migrate import migrate
from benchmarks.booking import spread
from benchmarks.database import BackDoor
from benchmarks.figures import compare
from benchmarks.http import PATIENCE, Http
from benchmarks.machine import describe
from benchmarks.open_load import Outcome
from benchmarks.plan import QUICK
from benchmarks.seed import seed
from benchmarks.server import ROOT, api, durable_postgres, settings_for

TIMES = (1.0, 2.0, 3.0)
"""The rates at which strangers come, as multiples of what sixteen patient clients get done."""


class Rates:
    """What patient clients get done, and strangers between two turns of theirs: tables grow and machines slow down."""

    def __init__(self, http: Http, order: dict[str, float | str], seconds: float) -> None:
        self._http, self._order, self._seconds = http, order, seconds
        self.patient = [self._be_patient()]
        self.outcomes: dict[float, list[Outcome]] = {times: [] for times in TIMES}
        self.peaks: dict[float, list[float]] = {times: [] for times in TIMES}

    def measure(self) -> None:
        """One round."""
        for times in TIMES:
            self.outcomes[times].append(_come({**self._order, "rate": times * self.patient[0]}))
            self.patient.append(self._be_patient())
            self.peaks[times].append(mean(self.patient[-2:]))

    def _be_patient(self) -> float:
        return self._http.run(spread(QUICK.slots), self._seconds).rate


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="how long each rate lasts")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    pg_bin = os.environ.get("PG_BIN")
    with durable_postgres(Path(pg_bin) if pg_bin else None) as postgres:
        settings = settings_for(postgres.url)
        migrate(settings)
        database = BackDoor(postgres.url)
        machine = database.run(lambda connection: describe(connection, postgres.data_dir))
        api_key = database.run(lambda connection: seed(connection, QUICK))
        with api(settings) as port:
            order = {
                "port": port,
                "api_key": api_key,
                "clients": 0,
                "seconds": given.seconds,
                "first_slot": spread(QUICK.slots).first,
                "slots": QUICK.slots,
                "customers": QUICK.customers,
            }
            rates = Rates(Http(port, api_key, QUICK.customers), order, given.seconds)
            for _ in range(given.rounds):
                rates.measure()
    _show(rates, f"{machine.date}, {machine.cores} cores, load {machine.load_average} at the start")


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


def _show(rates: Rates, machine: str) -> None:
    patient = rates.patient
    title = (
        f"patient clients: {median(patient):,.0f} bookings a second ({min(patient):,.0f} to {max(patient):,.0f}); ms"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for heading in ("times", "booked", "share", "p99", "refused", "p99", "health"):
        table.add_column(heading, justify="right", no_wrap=True)
    for times, outcomes in rates.outcomes.items():
        share = compare([outcome.done for outcome in outcomes], rates.peaks[times])
        table.add_row(
            f"{times:g}x",
            f"{median(outcome.done for outcome in outcomes):,.0f}",
            f"{share.median:.0%} ({share.lowest:.0%} to {share.highest:.0%})",
            f"{median(outcome.done_p99_ms for outcome in outcomes):,.0f}",
            f"{median(outcome.refused for outcome in outcomes):,.0f}",
            _spread([outcome.refused_p99_ms for outcome in outcomes]),
            f"{median(outcome.health_p99_ms for outcome in outcomes):,.0f}",
        )
    console = Console()
    console.print(table)
    console.print(machine)
    for times, outcomes in rates.outcomes.items():
        for outcome in outcomes:
            if outcome.others:
                console.print(f"{times:g}x, also: {outcome.others}")


def _spread(figures: list[float]) -> str:
    return f"{median(figures):,.0f} ({min(figures):,.0f} to {max(figures):,.0f})"


if __name__ == "__main__":
    main()
