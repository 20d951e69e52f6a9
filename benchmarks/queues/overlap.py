"""Ten bounded runs at once over jobs that wait for a provider: how long each takes, and that every job is done once."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from statistics import median
from uuid import UUID

import asyncpg
import uvloop

from app.database import open_database
from app.handlers import Handler, Job, Ok, Outcome
from app.jobs.processor import process_jobs
from app.security import Actor
from app.settings import Settings
from benchmarks.database import SCHEMA
from benchmarks.queues.bench import Bench
from benchmarks.queues.table import Row

CALLS = 10
PROVIDER_SECONDS = 0.2
ACTOR = Actor("system", "benchmark")

ADD_JOBS = "SELECT enqueue_job('send') FROM generate_series(1, $1::integer)"
COUNT_SETTLED_ONCE = """
SELECT count(*)
FROM jobs j
WHERE j.job_type = 'send' AND j.status = 'processed' AND j.lease_token = 1
"""


@dataclass(frozen=True)
class Overlap:
    """The wall time of all calls together, of each, and how many jobs each did."""

    jobs: int
    seconds: float
    elapsed_ms: list[int]
    processed: list[int]

    def rows(self) -> list[Row]:
        """All together, and each call's time."""
        what = f"{CALLS} calls, {self.jobs:,} jobs of {PROVIDER_SECONDS * 1000:.0f} ms"
        return [
            Row(what, f"{self.jobs / self.seconds:,.0f}"),
            Row("  a call: median, longest", "", "", f"{median(self.elapsed_ms):,.0f}", f"{max(self.elapsed_ms):,}"),
            Row("  until the last answer", "", "", f"{self.seconds * 1000:,.0f}"),
        ]


def measure_overlap(bench: Bench) -> Overlap:
    """Call once, ten times over. Raises RuntimeError unless every job was run and settled exactly once."""
    return uvloop.run(_measure(bench.holdfast("overlapping"), bench.plan.overlapping))


async def _measure(settings: Settings, jobs: int) -> Overlap:
    runs: Counter[UUID] = Counter()

    async def send(job: Job) -> Outcome:
        runs[job.id] += 1
        await asyncio.sleep(PROVIDER_SECONDS)
        return Ok()

    handlers = (Handler("send", send),)
    connection = await asyncpg.connect(settings.dsn, server_settings={"search_path": SCHEMA})
    await connection.execute(ADD_JOBS, jobs)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    async with open_database(settings) as db:
        began = time.perf_counter()
        reports = await asyncio.gather(*(process_jobs(db, ACTOR, handlers) for _ in range(CALLS)))
        seconds = time.perf_counter() - began
    settled = await connection.fetchval(COUNT_SETTLED_ONCE)
    await connection.close()
    if settled != jobs or runs.total() != jobs:
        msg = f"{runs.total()} runs of {len(runs)} jobs, and {settled} of {jobs} settled once"
        raise RuntimeError(msg)
    return Overlap(jobs, seconds, [report.elapsed_ms for report in reports], [report.processed for report in reports])
