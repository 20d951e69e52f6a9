"""pgbench and the API in turns on the same rows: A B A B, so that the machine's moods meet both."""

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.booking import HOT, Target, spread
from benchmarks.figures import Run
from benchmarks.http import Http
from benchmarks.pgbench import PgBench
from benchmarks.plan import Plan


@dataclass(frozen=True)
class BookingRuns:
    """The runs on one target, in the order of the rounds."""

    target: str
    pgbench: list[Run] = field(default_factory=list)
    http: list[Run] = field(default_factory=list)


def measure_bookings(pgbench: PgBench, http: Http, plan: Plan, checkpoint: Callable[[], None]) -> list[BookingRuns]:
    """Book over many slots and in one, by pgbench and over HTTP, round by round."""
    targets = (spread(plan.slots), HOT)
    if plan.warm_up_seconds:
        for target in targets:
            _warm_up(pgbench, http, plan.warm_up_seconds, target)
    measured = [BookingRuns(target.name) for target in targets]
    for _ in range(plan.rounds):
        for target, runs in zip(targets, measured, strict=True):
            checkpoint()
            runs.pgbench.append(pgbench.run(target, plan.seconds))
            checkpoint()
            runs.http.append(http.run(target, plan.seconds))
    return measured


def _warm_up(pgbench: PgBench, http: Http, seconds: float, target: Target) -> None:
    # fills the pools, the caches and the prepared statements; what it books is left out of the figures
    pgbench.run(target, seconds)
    http.run(target, seconds)
