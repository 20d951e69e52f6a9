"""How late a job starts of which very many are due at one instant."""

from dataclasses import dataclass, field
from statistics import median

from benchmarks.figures import percentile
from benchmarks.queues.bench import Bench
from benchmarks.queues.table import Row, show_ms


@dataclass(frozen=True)
class Lateness:
    """The percentiles of each round."""

    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class LatenessRuns:
    """By system."""

    jobs: int
    late: dict[str, Lateness]

    def rows(self) -> list[Row]:
        """Each system's lateness."""
        return [
            Row(f"{name}, {self.jobs:,} due at once", "", "", show_ms(late.p50_ms), show_ms(late.p99_ms))
            for name, late in self.late.items()
        ]


def measure_lateness(bench: Bench) -> LatenessRuns:
    """Wait for the instant with each system, round by round."""
    urls = {system: bench.prepared(system, "lateness") for system in bench.installed}
    measured = {system.name: Lateness() for system in urls}
    for _ in range(bench.plan.rounds):
        for system, url in urls.items():
            late = sorted(system.run("lateness", url, bench.plan.at_once)["late_ms"])
            measured[system.name].p50_ms.append(median(late))
            measured[system.name].p99_ms.append(percentile(late, 99))
    return LatenessRuns(bench.plan.at_once, measured)
