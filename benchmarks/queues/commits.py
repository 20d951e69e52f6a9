"""Whether bookings commit more slowly because a worker listens for hints."""

from dataclasses import dataclass, field

from app.embedded import find_binaries
from benchmarks.booking import spread
from benchmarks.database import BackDoor
from benchmarks.figures import Run, compare
from benchmarks.pgbench import PgBench
from benchmarks.queues.bench import Bench
from benchmarks.queues.table import Row, show_ms, show_rate, show_ratio
from benchmarks.seed import seed
from benchmarks.server import worker

WRITERS = 32


@dataclass(frozen=True)
class Commits:
    """Runs of the same bookings without a worker and with one that listens, in the order of the rounds."""

    alone: list[Run] = field(default_factory=list)
    listened: list[Run] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """The rate with a worker as a share of that without."""
        alone, listened = ([run.rate for run in runs] for runs in (self.alone, self.listened))
        return [
            _row(f"bookings, {WRITERS} writers, no worker", self.alone),
            _row("  while a worker listens", self.listened, show_ratio(compare(listened, alone))),
        ]


def measure_commits(bench: Bench) -> Commits:
    """Book without a worker and with one, in turns, over the same slots."""
    plan = bench.plan.bookings
    settings = bench.holdfast("commits")
    database = BackDoor(settings.dsn)
    database.run(lambda connection: seed(connection, plan))
    pgbench = PgBench(find_binaries(bench.pg_bin), settings.dsn, plan.customers)
    target = spread(plan.slots)
    if plan.warm_up_seconds:
        pgbench.run(target, plan.warm_up_seconds, WRITERS)
    commits = Commits()
    for _ in range(bench.plan.rounds):
        database.checkpoint()
        commits.alone.append(pgbench.run(target, plan.seconds, WRITERS))
        with worker(settings):
            database.checkpoint()
            commits.listened.append(pgbench.run(target, plan.seconds, WRITERS))
    return commits


def _row(what: str, runs: list[Run], ratio: str = "") -> Row:
    p50, p99 = [run.p50_ms for run in runs], [run.p99_ms for run in runs]
    return Row(what, show_rate([run.rate for run in runs]), ratio, show_ms(p50), show_ms(p99))
