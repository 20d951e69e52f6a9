"""The figures, for people and as JSON."""

from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.queues.backlog import Backlogs
from benchmarks.queues.commits import Commits
from benchmarks.queues.completing import Completions
from benchmarks.queues.drain import Drains
from benchmarks.queues.lateness import LatenessRuns
from benchmarks.queues.overlap import Overlap
from benchmarks.queues.plan import QueuePlan
from benchmarks.queues.pruning import Pruning
from benchmarks.queues.snapshot import Snapshots
from benchmarks.queues.trigger import TriggerCost

Measured = Drains | Backlogs | Completions | LatenessRuns | Overlap | TriggerCost | Snapshots | Pruning | Commits


@dataclass(frozen=True)
class QueueReport:
    """All that one run found."""

    machine: Machine
    plan: QueuePlan
    measured: dict[str, Measured]
    systems: dict[str, dict[str, Any]]
    """What each system that took part said of itself."""

    def json(self) -> dict[str, Any]:
        """Every single run, for a program to read."""
        return asdict(self)

    def print(self, console: Console) -> None:
        """A table for a person to read."""
        console.print(self._table())
        for name, facts in self.systems.items():
            console.print(f"{name} {facts['version']}: {facts['settings']}.", highlight=False)
        machine = self.machine
        console.print(
            f"{machine.date}, {machine.cores} cores, load {machine.load_average} at the start. "
            f"Postgres {machine.postgres}, fsync {machine.fsync}, synchronous_commit {machine.synchronous_commit}, "
            f"one fsync takes {machine.flush_ms:.2f} ms."
        )

    def _table(self) -> Table:
        title = f"medians of {self.plan.rounds} round{'s' * (self.plan.rounds > 1)}, ratios round by round"
        caption = "a ratio is ours to the peer's, else to the first line of its kind"
        table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("what", no_wrap=True)
        for heading in ("per s", "ratio (range)", "p50 ms", "p99 ms"):
            table.add_column(heading, justify="right", no_wrap=True)
        for measured in self.measured.values():
            for row in measured.rows():
                table.add_row(*row)
            table.add_section()
        return table
