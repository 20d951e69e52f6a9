"""Whether a snapshot that somebody else holds open slows claims down: no dead row may be removed while it lasts."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import asyncpg
import uvloop

from app.settings import Settings
from benchmarks.database import SCHEMA
from benchmarks.figures import compare, percentile
from benchmarks.queues.bench import Bench
from benchmarks.queues.claims import CALLERS, CLAIM, claims_for
from benchmarks.queues.table import Row, show_ms, show_ratio


@dataclass(frozen=True)
class Snapshots:
    """The milliseconds of claims before a snapshot of so many seconds, beside it, and when a while has passed."""

    seconds: float
    rest: float
    before_ms: list[float]
    beside_ms: list[float]
    after_ms: list[float]

    def rows(self) -> list[Row]:
        """The p99 beside it and after it, as multiples of that before."""
        return [
            *self._row(f"claim of {CLAIM}, {CALLERS} callers", self.before_ms),
            *self._row(f"  beside a {self.seconds:.0f} s snapshot (of p99)", self.beside_ms),
            *self._row(f"  {self.rest:.0f} s after it (of p99)", self.after_ms),
        ]

    def _row(self, what: str, took: list[float]) -> Iterator[Row]:
        ratio = compare([percentile(took, 99)], [percentile(self.before_ms, 99)])
        shown = "" if took is self.before_ms else show_ratio(ratio)
        yield Row(what, "", shown, show_ms([median(took)]), show_ms([percentile(took, 99)]))


def measure_snapshot(bench: Bench) -> Snapshots:
    """Claim at full speed all the while. Raises RuntimeError unless every job was claimed and settled exactly once."""
    return uvloop.run(_measure(bench.holdfast("snapshot"), bench.plan.snapshot_seconds))


async def _measure(settings: Settings, seconds: float) -> Snapshots:
    rest = seconds / 3
    # the first claims of an empty table are those of no table in use
    await claims_for(settings, rest / 2)
    before = await claims_for(settings, rest)
    holder = await asyncpg.connect(settings.dsn, server_settings={"search_path": SCHEMA})
    async with holder.transaction(isolation="repeatable_read"):
        await holder.execute("SELECT count(*) FROM jobs")
        beside = await claims_for(settings, seconds)
    await holder.close()
    await claims_for(settings, rest)
    return Snapshots(seconds, rest, before, beside, await claims_for(settings, rest / 2))
