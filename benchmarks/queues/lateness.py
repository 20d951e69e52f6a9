"""How late a job starts of which very many are due at one instant, by workers and by a bounded run of ours."""

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
    """By system; and of a bounded run that is under way at the instant, with the last start of all."""

    jobs: int
    late: dict[str, Lateness]
    run: Lateness
    run_last_ms: list[float]

    def rows(self) -> list[Row]:
        """Each system's lateness."""
        late = self.late | {"a bounded run": self.run}
        return [
            *(_row(f"{name}, {self.jobs:,} due at once", each) for name, each in late.items()),
            Row("  its last job", "", "", "", show_ms(self.run_last_ms)),
        ]


def measure_lateness(bench: Bench) -> LatenessRuns:
    """Wait for the instant with each system, round by round."""
    urls = {system: bench.prepared(system, "lateness") for system in bench.installed}
    measured = {system.name: Lateness() for system in urls}
    run, run_last_ms = Lateness(), []
    for _ in range(bench.plan.rounds):
        for system, url in urls.items():
            _add(measured[system.name], sorted(system.run("lateness", url, bench.plan.at_once)["late_ms"]))
        late = sorted(bench.ours.run("run-lateness", urls[bench.ours], bench.plan.at_once)["late_ms"])
        _add(run, late)
        run_last_ms.append(late[-1])
    return LatenessRuns(bench.plan.at_once, measured, run, run_last_ms)


def _add(late: Lateness, ordered: list[float]) -> None:
    late.p50_ms.append(median(ordered))
    late.p99_ms.append(percentile(ordered, 99))


def _row(what: str, late: Lateness) -> Row:
    return Row(what, "", "", show_ms(late.p50_ms), show_ms(late.p99_ms))
