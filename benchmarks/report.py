"""The figures, for people and as JSON."""

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.availability import AvailabilityRuns
from benchmarks.booking_runs import BookingRuns
from benchmarks.crowd import CrowdRuns
from benchmarks.figures import Ratio, Run, compare, summarize
from benchmarks.machine import Machine
from benchmarks.plan import Plan
from benchmarks.schedules import Refresh


@dataclass(frozen=True)
class Report:
    """All that one run of the benchmark found."""

    machine: Machine
    plan: Plan
    bookings: list[BookingRuns]
    availability: list[AvailabilityRuns]
    crowd: CrowdRuns
    completion: dict[int, list[float]]
    refreshes: list[Refresh]

    def ratios(self) -> dict[str, Ratio]:
        """Each comparison by its name; every one comes of neighbouring runs."""
        http = {f"http/pgbench, {runs.target}": _rates(runs.http, runs.pgbench) for runs in self.bookings}
        asked = {f"http/pgbench, {runs.question}": _rates(runs.http, runs.pgbench) for runs in self.availability}
        crowded, empty = ([run.p50_ms for run in runs] for runs in (self.crowd.crowded, self.crowd.empty))
        return {**http, **asked, "crowded/empty slot, p50": compare(crowded, empty)}

    def json(self) -> dict[str, Any]:
        """Every single run and the ratios, for a program to read."""
        return {**asdict(self), "ratios": {name: asdict(ratio) for name, ratio in self.ratios().items()}}

    def print(self, console: Console) -> None:
        """A table for a person to read."""
        console.print(self._table())
        machine = self.machine
        console.print(
            f"{machine.date}, {machine.cores} cores, load {machine.load_average} at the start. "
            f"Postgres {machine.postgres}, fsync {machine.fsync}, synchronous_commit {machine.synchronous_commit}, "
            f"one fsync takes {machine.flush_ms:.2f} ms."
        )
        cpu = [run.client_cpu_us for runs in self.bookings for run in runs.http if run.client_cpu_us is not None]
        console.print(f"The load generator took {median(cpu):.0f} µs of CPU a request from the same cores.")

    def _table(self) -> Table:
        title = f"medians of {self.plan.rounds} x {self.plan.seconds:g} s, ratios round by round"
        table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("what", no_wrap=True)
        for heading in ("per s", "ratio (range)", "p50 ms", "p99 ms", "errors"):
            table.add_column(heading, justify="right", no_wrap=True)
        ratios = self.ratios()
        for runs in self.bookings:
            table.add_row(f"pgbench, {runs.target}", *_cells(runs.pgbench))
            table.add_row(f"HTTP, {runs.target}", *_cells(runs.http, ratios[f"http/pgbench, {runs.target}"]))
        table.add_section()
        for asked in self.availability:
            table.add_row(f"pgbench, {asked.question}", *_cells(asked.pgbench))
            table.add_row(f"HTTP, {asked.question}", *_cells(asked.http, ratios[f"http/pgbench, {asked.question}"]))
        table.add_section()
        table.add_row("1 client, empty slot", *_cells(self.crowd.empty))
        crowded = ratios["crowded/empty slot, p50"]
        table.add_row(f"1 client, {self.plan.crowd:,} in it", *_cells(self.crowd.crowded, crowded))
        table.add_section()
        for callers, rates in self.completion.items():
            name = f"completing, {callers} caller{'s' * (callers > 1)}"
            table.add_row(name, f"{median(rates):,.0f}", "", "", "", "0")
        table.add_section()
        for refresh in self.refreshes:
            name = f"slots of {refresh.horizon_days} days ({refresh.slots:,})"
            table.add_row(name, f"{refresh.created_per_second:,.0f}", "", "", "", "0")
            table.add_row("  the same rules again", "", "", f"{refresh.unchanged_seconds * 1000:,.0f}", "", "0")
        return table


def _rates(ours: list[Run], theirs: list[Run]) -> Ratio:
    return compare([run.rate for run in ours], [run.rate for run in theirs])


def _cells(runs: list[Run], ratio: Ratio | None = None) -> tuple[str, ...]:
    summary = summarize(runs)
    return (
        f"{summary.rate:,.0f}",
        f"{ratio.median:.2f} ({ratio.lowest:.2f}-{ratio.highest:.2f})" if ratio else "",
        _milliseconds(summary.p50_ms),
        _milliseconds(summary.p99_ms),
        ", ".join(f"{count} x {status}" for status, count in summary.others.items()) or "0",
    )


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
