"""Whether jobs of the far future slow down those that are due."""

from dataclasses import dataclass, field
from statistics import median

from benchmarks.figures import compare, percentile
from benchmarks.queues.bench import Bench
from benchmarks.queues.systems import OURS
from benchmarks.queues.table import Row, show_ms, show_rate, show_ratio

PEERS = ("PgQueuer", "graphile-worker")


@dataclass(frozen=True)
class Side:
    """The runs on one of the two tables, in the order of the rounds."""

    rates: list[float] = field(default_factory=list)
    claim_p50_ms: list[float] = field(default_factory=list)
    claim_p99_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Backlogs:
    """By system: its table without the future, and the one with it."""

    jobs: int
    future: int
    sides: dict[str, tuple[Side, Side]]

    def rows(self) -> list[Row]:
        """Each system's drain as a share of its own on an empty table; and our claims."""
        rows = []
        for name, (empty, full) in self.sides.items():
            rows += [
                Row(f"{name}, no future jobs", show_rate(empty.rates)),
                Row(f"  beside {self.future:,}", show_rate(full.rates), show_ratio(compare(full.rates, empty.rates))),
            ]
        empty, full = self.sides[OURS]
        longer = show_ratio(compare(full.claim_p99_ms, empty.claim_p99_ms))
        return [
            *rows,
            Row("claim of 10, no future jobs", "", "", show_ms(empty.claim_p50_ms), show_ms(empty.claim_p99_ms)),
            Row(
                f"  beside {self.future:,} (of p99)", "", longer, show_ms(full.claim_p50_ms), show_ms(full.claim_p99_ms)
            ),
        ]


def measure_backlog(bench: Bench) -> Backlogs:
    """Drain, and claim, on either table in turns."""
    systems = bench.named(OURS, *PEERS)
    sides = {system.name: (Side(), Side()) for system in systems}
    urls = {
        system: (bench.prepared(system, "empty"), bench.prepared(system, "future", bench.plan.future))
        for system in systems
    }
    for _ in range(bench.plan.rounds):
        for system, both in urls.items():
            for side, url in zip(sides[system.name], both, strict=True):
                answer = system.run("drain", url, bench.plan.jobs)
                side.rates.append(bench.plan.jobs / answer["seconds"])
        for side, url in zip(sides[OURS], urls[bench.ours], strict=True):
            took = sorted(bench.ours.run("claims", url, bench.plan.claims)["claim_ms"])
            side.claim_p50_ms.append(median(took))
            side.claim_p99_ms.append(percentile(took, 99))
    return Backlogs(bench.plan.jobs, bench.plan.future, sides)
