"""Whether a booking costs more in a slot that already holds very many."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.booking import CROWDED_SLOT, FIRST_EMPTY_SLOT, Target
from benchmarks.figures import Run
from benchmarks.pgbench import PgBench
from benchmarks.plan import Plan


@dataclass(frozen=True)
class CrowdRuns:
    """Runs of one client that does not wait for the disk: a latency is the work of one booking, and nothing else."""

    crowded: list[Run]
    empty: list[Run]


def measure_crowd(pgbench: PgBench, plan: Plan, checkpoint: Callable[[], None]) -> CrowdRuns:
    """Book into the crowded slot and into an empty one, in turns; each turn takes a fresh empty slot."""
    crowded = Target.one("crowded slot", CROWDED_SLOT)
    runs = CrowdRuns([], [])
    # One checkpoint for all: after it, the first write to a page logs the page whole, and the crowded slot's index
    # entries lie on many pages. Repeated for every run of seconds, that would be most of what is measured.
    checkpoint()
    pgbench.run(crowded, plan.warm_up_seconds, connections=1, wait_for_disk=False)
    for turn in range(plan.crowd_turns):
        empty = Target.one("empty slot", FIRST_EMPTY_SLOT + turn)
        runs.crowded.append(pgbench.run(crowded, plan.seconds / 2, connections=1, wait_for_disk=False))
        runs.empty.append(pgbench.run(empty, plan.seconds / 2, connections=1, wait_for_disk=False))
    return runs
