"""Whether claims are slower while very many old jobs are forgotten."""

import asyncio
from dataclasses import dataclass, field
from statistics import median

import asyncpg
import uvloop

from app.database import open_database
from app.jobs import queries
from app.jobs.housekeeping import Retention
from app.security import Actor
from app.settings import Settings
from benchmarks.database import SCHEMA
from benchmarks.figures import compare, percentile
from benchmarks.queues.bench import Bench
from benchmarks.queues.claims import CLAIM, claims_for, claims_while
from benchmarks.queues.table import Row, show_ms, show_rate, show_ratio

# as the processor does it
BATCH = 500
SYSTEM = Actor("system", "benchmark")
# each with an attempt that failed, which is forgotten with it
ADD_OLD = """
WITH old AS (
  INSERT INTO jobs (
    job_type, queue, dedupe_key, status, attempt, lease_token, scheduled_at, run_at, processed_at, created_at,
    updated_at
  )
  SELECT 'old', 'default', gen_random_uuid()::text, 'processed', 2, 2, at, at, at, at, at
  FROM generate_series(1, $1::integer) n
  CROSS JOIN LATERAL (SELECT now() - interval '30 days' + n * interval '1 second') t (at)
  RETURNING id, processed_at
)
INSERT INTO job_attempts (job_id, attempt, lease_token, instance_id, outcome, started_at, ended_at)
SELECT id, 1, 1, 'benchmark', 'failed', processed_at, processed_at FROM old
"""


@dataclass(frozen=True)
class Side:
    """The claims of each round."""

    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    def add(self, took: list[float]) -> None:
        """One round more."""
        self.p50_ms.append(median(took))
        self.p99_ms.append(percentile(took, 99))


@dataclass(frozen=True)
class Pruning:
    """Claims beside so many old jobs that stay, and beside as many that go, so many a second."""

    old: int
    rates: list[float] = field(default_factory=list)
    without: Side = field(default_factory=Side)
    beside: Side = field(default_factory=Side)

    def rows(self) -> list[Row]:
        """The p99 while they go, as a multiple of that while they stay."""
        ratio = show_ratio(compare(self.beside.p99_ms, self.without.p99_ms))
        without, beside = ((show_ms(side.p50_ms), show_ms(side.p99_ms)) for side in (self.without, self.beside))
        return [
            Row(f"claim of {CLAIM}, {self.old:,} old jobs", "", "", *without),
            Row("  as they are forgotten (of p99)", "", ratio, *beside),
            Row("  forgotten meanwhile", show_rate(self.rates)),
        ]


def measure_pruning(bench: Bench) -> Pruning:
    """Claim with and without pruning. Raises RuntimeError unless all old jobs and no others are forgotten."""
    measured = Pruning(bench.plan.old)
    settings = bench.holdfast("pruning")
    for _ in range(bench.plan.rounds):
        uvloop.run(_measure(settings, bench.plan.bookings.seconds, measured))
    return measured


async def _measure(settings: Settings, seconds: float, measured: Pruning) -> None:
    connection = await asyncpg.connect(settings.dsn, server_settings={"search_path": SCHEMA})
    await connection.execute(ADD_OLD, measured.old)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()
    measured.without.add(await claims_for(settings, seconds))
    pruning = asyncio.create_task(_prune(settings))
    measured.beside.add(await claims_while(settings, lambda: not pruning.done()))
    forgotten, took = await pruning
    if forgotten != measured.old:
        msg = f"{forgotten} of {measured.old} old jobs are forgotten"
        raise RuntimeError(msg)
    measured.rates.append(forgotten / took)


async def _prune(settings: Settings) -> tuple[int, float]:
    began, forgotten, retention = asyncio.get_running_loop().time(), 0, Retention()
    async with open_database(settings) as db:
        while batch := await queries.prune_jobs(db, SYSTEM, BATCH, retention.over, retention.discarded):
            forgotten += batch
    return forgotten, asyncio.get_running_loop().time() - began
