"""Due bookings completed set-based, beside the best known Python queue's drain of no-ops."""

from dataclasses import dataclass
from statistics import median

from benchmarks.completion import measure_completion
from benchmarks.database import BackDoor
from benchmarks.figures import compare
from benchmarks.queues.bench import Bench
from benchmarks.queues.table import Row, show_rate, show_ratio
from benchmarks.seed import seed

PEER = "PgQueuer"


@dataclass(frozen=True)
class Completions:
    """Bookings a second by the number of callers, and the peer's jobs a second right after; none if it is not there."""

    bookings: int
    jobs: int
    rates: dict[int, list[float]]
    peer: list[float]

    def rows(self) -> list[Row]:
        """The peer, and each number of callers as a multiple of it."""
        rows = [
            Row(
                f"{self.bookings:,} due bookings, {callers} caller{'s' * (callers > 1)}",
                show_rate(rates),
                show_ratio(compare(rates, [median(self.peer)] * len(rates))) if self.peer else "",
            )
            for callers, rates in self.rates.items()
        ]
        return ([Row(f"{PEER}, {self.jobs:,} no-ops", show_rate(self.peer))] if self.peer else []) + rows


def measure_completing(bench: Bench) -> Completions:
    """Complete with one caller and with two, then drain the peer."""
    plan = bench.plan.bookings
    settings = bench.holdfast("completing")
    database = BackDoor(settings.dsn)
    database.run(lambda connection: seed(connection, plan))
    rates = database.run(lambda connection: measure_completion(connection, settings, plan))
    peer: list[float] = []
    for system in bench.named(PEER):
        url = bench.prepared(system, "completing")
        answers = [system.run("drain", url, bench.plan.jobs) for _ in range(bench.plan.rounds)]
        peer = [bench.plan.jobs / answer["seconds"] for answer in answers]
    return Completions(plan.due, bench.plan.jobs, rates, peer)
