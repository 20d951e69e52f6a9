"""No-ops that are due, drained by every system in turn: jobs a second, and ours beside each peer."""

from dataclasses import dataclass

from benchmarks.figures import compare
from benchmarks.queues.bench import Bench
from benchmarks.queues.systems import OURS
from benchmarks.queues.table import Row, show_rate, show_ratio


@dataclass(frozen=True)
class Drains:
    """Jobs a second by system, in the order of the rounds."""

    jobs: int
    rates: dict[str, list[float]]
    missing: list[str]

    def rows(self) -> list[Row]:
        """Each system, and our rate as a share of its."""
        ours = self.rates[OURS]
        rows = [Row(f"{OURS}, {self.jobs:,} no-ops", show_rate(ours))]
        for name, rates in self.rates.items():
            if name != OURS:
                rows.append(Row(f"{name} (ours to it)", show_rate(rates), show_ratio(compare(ours, rates))))
        return rows + [Row(f"{name}: not installed") for name in self.missing]


def measure_drain(bench: Bench) -> Drains:
    """Drain by each system, round by round, each in a database of its own."""
    urls = {system: bench.prepared(system, "drain") for system in bench.installed}
    rates: dict[str, list[float]] = {system.name: [] for system in urls}
    for _ in range(bench.plan.rounds):
        for system, url in urls.items():
            answer = system.run("drain", url, bench.plan.jobs)
            rates[system.name].append(bench.plan.jobs / answer["seconds"])
    return Drains(bench.plan.jobs, rates, [system.name for system in bench.systems if not system.command])
