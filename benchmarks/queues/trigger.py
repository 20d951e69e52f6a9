"""What a booking costs more because its job is written with it."""

from dataclasses import dataclass, field

from app.embedded import find_binaries
from benchmarks.booking import spread
from benchmarks.database import BackDoor
from benchmarks.figures import Run, compare
from benchmarks.pgbench import PgBench
from benchmarks.plan import CONNECTIONS
from benchmarks.queues.bench import Bench
from benchmarks.queues.table import Row, show_ms, show_rate, show_ratio
from benchmarks.seed import seed

TRIGGERS = ("bookings_sync_jobs_on_insert", "bookings_sync_jobs_on_update")


@dataclass(frozen=True)
class TriggerRuns:
    """Runs of many clients that wait for the disk, and of one that does not, in the order of the rounds."""

    many: list[Run] = field(default_factory=list)
    one: list[Run] = field(default_factory=list)


@dataclass(frozen=True)
class TriggerCost:
    """The same bookings with and without a job."""

    bare: TriggerRuns
    written: TriggerRuns

    def rows(self) -> list[Row]:
        """What many clients see, and what one booking costs."""
        bare, written = ([run.rate for run in runs.many] for runs in (self.bare, self.written))
        alone, beside = ([run.p50_ms for run in runs.one] for runs in (self.bare, self.written))
        return [
            _row(f"bookings, no job, {CONNECTIONS} clients", self.bare.many),
            _row("  with their jobs", self.written.many, show_ratio(compare(written, bare))),
            _row("1 client off the disk, no job", self.bare.one),
            _row("  with the job (of p50)", self.written.one, show_ratio(compare(beside, alone))),
        ]


def measure_trigger(bench: Bench) -> TriggerCost:
    """Book with the triggers off and on, in turns, over the same slots."""
    plan = bench.plan.bookings
    settings = bench.holdfast("trigger")
    database = BackDoor(settings.dsn)
    database.run(lambda connection: seed(connection, plan))
    pgbench = PgBench(find_binaries(bench.pg_bin), settings.dsn, plan.customers)
    target = spread(plan.slots)
    if plan.warm_up_seconds:
        pgbench.run(target, plan.warm_up_seconds)
    cost = TriggerCost(TriggerRuns(), TriggerRuns())
    for _ in range(bench.plan.rounds):
        for word, runs in (("DISABLE", cost.bare), ("ENABLE", cost.written)):
            _switch(database, word)
            database.checkpoint()
            runs.many.append(pgbench.run(target, plan.seconds))
        for word, runs in (("DISABLE", cost.bare), ("ENABLE", cost.written)):
            _switch(database, word)
            runs.one.append(pgbench.run(target, plan.seconds / 2, connections=1, wait_for_disk=False))
    return cost


def _switch(database: BackDoor, word: str) -> None:
    changes = ", ".join(f"{word} TRIGGER {trigger}" for trigger in TRIGGERS)
    database.run(lambda connection: connection.execute(f"ALTER TABLE bookings {changes}"))


def _row(what: str, runs: list[Run], ratio: str = "") -> Row:
    p50, p99 = [run.p50_ms for run in runs], [run.p99_ms for run in runs]
    return Row(what, show_rate([run.rate for run in runs]), ratio, show_ms(p50), show_ms(p99))
