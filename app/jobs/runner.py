"""Claim, run, settle: the same for a bounded run and for a worker."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import asyncpg
import structlog

from app.database import TROUBLE, Database
from app.errors import Problem
from app.handlers import Handler, Job, Lease, Retry
from app.jobs import queries
from app.jobs.limits import Limits, OverLimitError
from app.jobs.queue import Queue
from app.jobs.settlement import COMPLETED, Settlement, settlement_of
from app.security import Actor
from app.waiting import happens

# So many failures of a queue on end, and it is left alone for a while: what it needs is most likely down.
BREAKER_FAILURES = 5
BREAKER_SECONDS = 60
SETTLE_BATCH = 1000
# so that what came of one is run while the next is under way
CLAIM_BATCH = 400
# Nobody here knows the job: a newer version will, or an older one.
UNKNOWN_SECONDS = 60.0
# What a handler raises when our own database is away, and what a settlement raises that no database would take.
OUR_TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, Problem)
UNSTORABLE = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError, TypeError)
RELEASED = Settlement("released")
STOPPED = Settlement("budget", "stopped before its end")
CANNOT_BE_STORED = Settlement("failed", "what it answered cannot be stored")

logger = structlog.get_logger(__name__)


class Held(NamedTuple):
    """A job that is leased to us, and what runs it."""

    job: Job
    starts_at: float
    task: "asyncio.Task[Settlement | None]"


class Runner:
    """Runs the jobs of some handlers, at most `concurrency` at once, and settles what comes of them.

    `lease` answers for how many seconds a job that is claimed now is leased; nothing runs after `ends_at`, by `clock`.
    A runner belongs to one run: nothing is shared between two.
    """

    def __init__(
        self,
        db: Database,
        actor: Actor,
        handlers: Sequence[Handler],
        instance_id: str,
        *,
        concurrency: int,
        lease: Callable[[], float],
        ends_at: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.held: dict[Lease, Held] = {}
        self.tally: Counter[str] = Counter()
        self.finished = asyncio.Event()
        self._db = db
        self._actor = actor
        self._instance_id = instance_id
        self._concurrency = concurrency
        self._lease = lease
        self._ends_at = ends_at
        self._clock = clock
        self._handlers = {handler.job_type: handler for handler in handlers}
        # to ask which loop runs is a system call: once, and not for each job
        self._loop = asyncio.get_running_loop()
        self._limits = Limits(self._loop)
        self._unsettled: list[tuple[Job, Settlement]] = []
        self._settling = asyncio.Lock()
        self._queues: dict[str, Queue] = {}
        self._take_from([handler.queue for handler in handlers if not handler.queue.endswith("*")])

    @property
    def queues(self) -> list[str]:
        """The queues it claims from."""
        return list(self._queues)

    @property
    def room(self) -> int:
        """How many more jobs may run."""
        promised = sum(queue.promised for queue in self._queues.values())
        return self._concurrency - len(self.held) - promised

    @property
    def leased(self) -> list[Job]:
        """The jobs it has: those that run, and those that ended and are not settled yet."""
        return [held.job for held in self.held.values()] + [job for job, _ in self._unsettled]

    async def read_queues(self) -> None:
        """Learn which queues there are by now, and how far apart each wants its jobs to start."""
        staggers = await queries.read_staggers(self._db)
        self._take_from(staggers)
        for queue in self._queues.values():
            queue.stagger = staggers.get(queue.name, 0) / 1000

    def _take_from(self, names: Iterable[str]) -> None:
        for name in names:
            needs = [handler.needs for handler in self._handlers.values() if handler.takes_from(name)]
            if needs and name not in self._queues:
                self._queues[name] = Queue(name, min(needs))

    async def fill(self) -> int:
        """Claim as many jobs as there is room for, and start them in that order; answers how many."""
        claimed = 0
        for queue in self._queues.values():
            jobs = await self._claim(queue)
            for job in jobs:
                self._start(queue, job)
            claimed += len(jobs)
        return claimed

    async def _claim(self, queue: Queue) -> list[Job]:
        jobs = await (self._claimed_ahead(queue) if queue.ahead else self._ask(queue, self._room(queue)))
        room = self._room(queue) - len(jobs)
        if len(jobs) == CLAIM_BATCH and room > 0:
            # most likely there are more, and the database looks for them while these begin
            queue.promised = min(room, CLAIM_BATCH)
            queue.ahead = asyncio.create_task(self._ask(queue, queue.promised))
            await asyncio.sleep(0)
        return jobs

    async def _claimed_ahead(self, queue: Queue) -> list[Job]:
        ahead, queue.ahead, queue.promised = queue.ahead, None, 0
        return await ahead if ahead else []

    async def _ask(self, queue: Queue, room: int) -> list[Job]:
        if room <= 0:
            return []
        limit = min(room, CLAIM_BATCH)
        jobs = await queries.claim_jobs(self._db, self._instance_id, queue.name, limit, self._lease())
        self.tally["claimed"] += len(jobs)
        return jobs

    def _room(self, queue: Queue) -> int:
        if queue.is_closed:
            return 0
        free = self.room
        if len(self._queues) > 1:
            # a queue whose jobs hang leaves the others half of the room
            free = min(free, math.ceil(self._concurrency / 2) - queue.running)
        time_left = self._ends_at - queue.needs - max(self._clock(), queue.next_start)
        if time_left <= 0:
            return 0
        if queue.stagger and time_left < math.inf:
            free = min(free, 1 + math.floor(time_left / queue.stagger))
        return free

    def _start(self, queue: Queue, job: Job) -> None:
        handler = self._handlers.get(job.job_type)
        starts_at = max(self._clock(), queue.next_start)
        if handler is None:
            self._finish(job, Settlement("snoozed", "nobody here knows this type", after=UNKNOWN_SECONDS))
        elif starts_at + handler.needs > self._ends_at:
            queue.is_closed = True
            self._finish(job, RELEASED)
        else:
            queue.next_start = starts_at + queue.stagger
            queue.running += 1
            task = self._loop.create_task(self._run(queue, handler, job, starts_at))
            self.held[job.lease] = Held(job, starts_at, task)
            task.add_done_callback(partial(self._ended, queue, job))

    async def _run(self, queue: Queue, handler: Handler, job: Job, starts_at: float) -> Settlement | None:
        settlement = RELEASED
        try:
            if (wait := starts_at - self._clock()) > 0:
                await asyncio.sleep(wait)
            settlement = STOPPED
            return await self._outcome(queue, handler, job)
        except asyncio.CancelledError:
            # by us: the end of the run, a lost lease, or somebody's wish; the settlement says how far it came
            return settlement

    async def _outcome(self, queue: Queue, handler: Handler, job: Job) -> Settlement | None:
        seconds = min(handler.limit, self._ends_at - self._clock())
        try:
            outcome = await self._limits.within(seconds, handler.run(job))
        except Exception as error:  # noqa: BLE001 - one job's fault must not stop the others
            is_late = isinstance(error, OverLimitError)
            if is_late and seconds < handler.limit:
                return Settlement("budget", "cut off by the end of the run")
            # the kind, not the words: those may hold what nobody should read
            told = f"no answer within {seconds:.1f} s" if is_late else type(error).__name__
            logger.warning("a job failed", job_type=job.job_type, job_id=str(job.id), error=told)
            if isinstance(error, OUR_TROUBLE):
                # nothing against the queue
                return Settlement("failed", told)
            outcome = Retry(told)
        if handler.pauses_queue:
            queue.note(outcome)
        return settlement_of(outcome)

    def _ended(self, queue: Queue, job: Job, task: "asyncio.Task[Settlement | None]") -> None:
        queue.running -= 1
        del self.held[job.lease]
        # one that is cancelled before its first step never gets to say so
        self._finish(job, RELEASED if task.cancelled() else task.result())

    def _finish(self, job: Job, settlement: Settlement | None) -> None:
        if settlement is None:
            self.tally["processed"] += 1
        else:
            self._unsettled.append((job, settlement))
        self.finished.set()

    async def settle(self) -> int:
        """Settle a batch of what has ended; answers how many. What the database raises leaves them for later."""
        async with self._settling:
            self.finished.clear()
            batch = self._unsettled[:SETTLE_BATCH]
            if batch:
                await self._settle(batch)
            return len(batch)

    async def _settle(self, batch: list[tuple[Job, Settlement]]) -> None:
        completed = [job for job, settlement in batch if settlement is COMPLETED]
        others = [(job, settlement) for job, settlement in batch if settlement is not COMPLETED]
        try:
            lost = await queries.complete_jobs(self._db, completed) if completed else 0
            answers = await self._answers(others) if others else {}
            del self._unsettled[: len(batch)]
        finally:
            if self._unsettled:
                # nothing else may come to say that there is more
                self.finished.set()
        self.tally += Counter(processed=len(completed) - lost, stale=lost)
        for job, settlement in others:
            answer = answers[job.lease]
            self.tally[settlement.tally(job) if answer == "ok" else answer] += 1
        await self._mind_the_breakers()

    async def _answers(self, batch: list[tuple[Job, Settlement]]) -> dict[Lease, str]:
        try:
            return await queries.settle_jobs(self._db, [settlement.of(job) for job, settlement in batch])
        except UNSTORABLE:
            if len(batch) == 1:
                return await queries.settle_jobs(self._db, [CANNOT_BE_STORED.of(batch[0][0])])
        # one of them is to blame
        answers: dict[Lease, str] = {}
        for each in batch:
            answers |= await self._answers([each])
        return answers

    async def _mind_the_breakers(self) -> None:
        for queue in self._queues.values():
            if queue.failures >= BREAKER_FAILURES:
                queue.failures = 0
                reason = f"{BREAKER_FAILURES} failures on end"
                logger.warning("queue paused", queue=queue.name, reason=reason)
                await queries.pause_queue(self._db, self._actor, queue.name, BREAKER_SECONDS, reason)

    async def something_finished(self, seconds: float) -> None:
        """Wait until a job has ended, or so many seconds."""
        await happens(self.finished, seconds)

    async def stop(self, grace: float, patience: float) -> None:
        """Give back what has not begun; let the rest go on for `grace` seconds, then cancel it, and wait so many more.

        What does not end then keeps its lease: it may still be at work, so nobody else may have it before.
        """
        for held in self.held.values():
            if held.starts_at > self._clock():
                held.task.cancel()
        for queue in self._queues.values():
            # one that fails has told nobody what it claimed: that is rescued
            with suppress(*TROUBLE):
                for job in await self._claimed_ahead(queue):
                    self._finish(job, RELEASED)
        await self._wait(grace)
        for held in list(self.held.values()):
            held.task.cancel()
        await self._wait(patience)

    async def _wait(self, seconds: float) -> None:
        tasks = [held.task for held in self.held.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
