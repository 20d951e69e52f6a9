"""The long-running worker: the same claims, handlers and settling as a bounded run, without the end."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import structlog

from app.database import TROUBLE, Database
from app.handlers import Handler
from app.jobs import queries
from app.jobs.housekeeping import JOB_TYPES, keep_house, retention_of
from app.jobs.listener import listen
from app.jobs.runner import Runner
from app.jobs.settlement import report_of
from app.security import Actor
from app.settings import Settings
from app.waiting import happens

# Seconds. A lease outlives two renewals that fail.
LEASE = 60.0
RENEW = 20.0
# The longest it does not look, whatever it was told; less by up to half at random, lest workers look together.
POLL = 2.0
HOUSEKEEPING = 5.0
HEARTBEAT = 15.0
HESITATION = 0.02
# What is due and cannot be claimed is somebody else's, or its queue has enough to do.
NOT_TO_BE_HAD = 0.1
GRACE = 20.0
UNWIND = 1.0
BACKOFF = (0.1, 3.0)
CONCURRENCY = 800

logger = structlog.get_logger(__name__)


class Worker:
    """Does what is due, at the moment it is, until told to stop."""

    def __init__(self, db: Database, settings: Settings, handlers: Sequence[Handler]) -> None:
        self.instance_id = f"worker_{uuid.uuid4().hex[:12]}"
        self._db = db
        self._settings = settings
        self._actor = Actor("system", "worker")
        self._runner = Runner(db, self._actor, handlers, self.instance_id, concurrency=CONCURRENCY, lease=lambda: LEASE)
        self._awake = asyncio.Event()
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Claim and sweep nothing more; `run` returns when what is at work has ended, or was given up."""
        self._stopping.set()
        self._ready.set()
        self._awake.set()

    async def run(self) -> None:
        """Work until stopped. A database that is away is waited for."""
        loops = [
            self._forever(self._settle),
            self._forever(self._renew, every=RENEW),
            self._forever(self._say_hello, every=HEARTBEAT),
        ]
        if self._settings.db_pooler == "none":
            # a transaction pooler passes no notifications on
            loops.append(listen(self._settings, self._awake.set))
        house = asyncio.create_task(self._forever(self._keep_house, every=HOUSEKEEPING, until=self._stopping))
        tasks = [house, *map(asyncio.create_task, loops)]
        logger.info("worker started", instance_id=self.instance_id)
        try:
            # before anything starts too close to another
            await self._forever(self._learn, until=self._ready)
            await self._forever(self._claim, until=self._stopping)
            # a sweep that is cut off has done its work as often as not, and nobody would have counted it
            await asyncio.gather(self._runner.stop(GRACE, UNWIND), asyncio.wait([house], timeout=GRACE))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._drain()
        logger.info("worker stopped", instance_id=self.instance_id, **report_of(self._runner.tally))

    async def _forever(
        self, step: Callable[[], Awaitable[None]], *, every: float = 0.0, until: asyncio.Event | None = None
    ) -> None:
        until = until or asyncio.Event()
        pause = BACKOFF[0]
        while not until.is_set():
            try:
                await step()
                pause = BACKOFF[0]
                await happens(until, every * random.uniform(0.75, 1))  # noqa: S311 - no secret
            except Exception as error:  # noqa: BLE001 - the other loops depend on this one
                told = "the database is away" if isinstance(error, TROUBLE) else "unexpected error"
                logger.warning(told, error=type(error).__name__, step=step.__name__)
                await happens(until, pause)
                pause = min(pause * 2, BACKOFF[1])

    async def _learn(self) -> None:
        await self._runner.read_queues()
        self._ready.set()

    async def _claim(self) -> None:
        self._awake.clear()
        if self._runner.room < CONCURRENCY // 4:
            # a moment later there may be room for more, at the same price
            await self._runner.something_finished(HESITATION)
        if await self._runner.fill():
            return
        # there may be one more by now
        await self._runner.read_queues()
        wait = POLL * random.uniform(0.5, 1)  # noqa: S311 - no secret
        if self._runner.queues and self._runner.room:
            due_in = await queries.next_job_due_in(self._db, self._runner.queues)
            if due_in is not None:
                wait = min(wait, due_in if due_in > 0 else NOT_TO_BE_HAD)
        await happens(self._awake, wait)

    async def _settle(self) -> None:
        await self._runner.finished.wait()
        if await self._runner.settle():
            # there is room again, and what followed may be due
            self._awake.set()

    async def _renew(self) -> None:
        leased = self._runner.leased
        held = await queries.extend_leases(self._db, leased, LEASE) if leased else {}
        for job in leased:
            # lost: it is somebody else's by now; or not wanted any more
            if held.get(job.lease, True) and job.lease in self._runner.held:
                self._runner.held[job.lease].task.cancel()

    async def _keep_house(self) -> None:
        due_in = await queries.next_job_due_in(self._db, [], JOB_TYPES)
        await self._sweep()
        if due_in is not None and 0 < due_in < HOUSEKEEPING:
            await happens(self._stopping, due_in)
            await self._sweep()

    async def _sweep(self) -> None:
        retention = retention_of(self._settings)
        await keep_house(self._db, self._actor, retention, self._runner.tally, self._stopping.is_set)

    async def _say_hello(self) -> None:
        await self._runner.read_queues()
        await queries.record_job_run(self._db, self.instance_id, "worker", report_of(self._runner.tally))

    async def _drain(self) -> None:
        try:
            while await self._runner.settle():
                pass
            numbers = report_of(self._runner.tally)
            await queries.record_job_run(self._db, self.instance_id, "worker", numbers, is_over=True)
        except TROUBLE as error:
            logger.warning("left to be rescued", error=type(error).__name__, jobs=len(self._runner.leased))


@asynccontextmanager
async def working(db: Database, settings: Settings, handlers: Sequence[Handler]) -> AsyncIterator[None]:
    """A worker beside the block, which has ended its work when the block is left."""
    worker = Worker(db, settings, handlers)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task
