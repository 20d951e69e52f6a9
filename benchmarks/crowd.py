"""Whether a booking costs more in a slot that already holds very many."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.booking import CROWDED_SLOT, FIRST_EMPTY_SLOT, Target
from benchmarks.figures import Run
from benchmarks.pgbench import PgBench
from benchmarks.plan import Plan


@dataclass(frozen=True)
class CrowdRuns:
    """Runs of one client, so that a latency is the cost of one booking; each round takes a fresh empty slot."""

    crowded: list[Run]
    empty: list[Run]


def measure_crowd(pgbench: PgBench, plan: Plan, checkpoint: Callable[[], None]) -> CrowdRuns:
    """Book into the crowded slot and into an empty one, in turns."""
    runs = CrowdRuns([], [])
    crowded = Target.one("crowded slot", CROWDED_SLOT)
    for number in range(plan.rounds):
        for target, kept in (
            (crowded, runs.crowded),
            (Target.one("empty slot", FIRST_EMPTY_SLOT + number), runs.empty),
        ):
            checkpoint()
            kept.append(pgbench.run(target, plan.seconds / 2, connections=1))
    return runs
