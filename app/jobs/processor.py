"""One bounded run over what is due: it works for eight seconds at most, and always answers before ten.

Any number of runs may overlap: a job belongs to whom it is leased, and the sweeps skip rows that another holds.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from app.database import Database
from app.handlers import Handler
from app.jobs import queries
from app.jobs.housekeeping import Retention, keep_house
from app.jobs.runner import Runner
from app.jobs.schemas import RunReport
from app.jobs.settlement import report_of
from app.security import Actor

# Seconds. Nothing starts after the work budget; what runs then is cancelled and settled within the grace; counting what
# is left may not take longer than its patience. A caller with a limit of ten has its answer in every case.
WORK_BUDGET = 8.0
GRACE = 1.2
UNWIND = 0.4
COUNT_PATIENCE = 0.5
ANSWER_LIMIT = 10.0
# Housekeeping comes first, for no longer than this while jobs wait; what it left comes after them.
HOUSEKEEPING = 1.5
# If this process dies, its jobs are free again so long after its answer was due.
LEASE_AFTER_ANSWER = 20.0
# Twice the customers who want something at one opening: no queue takes more than half.
CONCURRENCY = 40

logger = structlog.get_logger(__name__)


class Run:
    """A bounded run: its clock, its numbers, and what it has done so far."""

    def __init__(
        self,
        db: Database,
        actor: Actor,
        handlers: Sequence[Handler],
        retention: Retention,
        *,
        caller: str,
        budget: float,
        clock: Callable[[], float],
    ) -> None:
        self.instance_id = f"run_{uuid.uuid4().hex[:12]}"
        self._db = db
        self._actor = actor
        self._retention = retention
        self._caller = caller
        self._clock = clock
        self._started = clock()
        self._ends_at = self._started + budget
        self._runner = Runner(
            db,
            actor,
            handlers,
            self.instance_id,
            concurrency=CONCURRENCY,
            lease=lambda: self._started + ANSWER_LIMIT - clock() + LEASE_AFTER_ANSWER,
            ends_at=self._ends_at,
            clock=clock,
        )

    @property
    def _tally(self) -> Counter[str]:
        return self._runner.tally

    @property
    def _time_left(self) -> float:
        return self._ends_at - self._clock()

    async def work(self) -> RunReport:
        """Do what is due until nothing is left or time is up."""
        if not await within(self._time_left + GRACE, self._work()):
            logger.warning("a call given up", instance_id=self.instance_id)
        return await self._report()

    async def _work(self) -> None:
        await queries.record_job_run(self._db, self.instance_id, self._caller, {})
        await self._keep_house(until=self._started + HOUSEKEEPING if self._runner.queues else self._ends_at)
        if self._runner.queues:
            await self._do_jobs()
            await self._keep_house(until=self._ends_at)

    async def _keep_house(self, until: float) -> None:
        ends_at = min(until, self._ends_at)
        await keep_house(self._db, self._actor, self._retention, self._tally, lambda: self._clock() >= ends_at)

    async def _do_jobs(self) -> None:
        await self._runner.read_queues()
        while self._time_left > 0 and (await self._runner.fill() or await self._is_worth_waiting()):
            await self._runner.settle()
        await self._runner.stop(0, UNWIND)
        while await self._runner.settle():
            pass

    async def _is_worth_waiting(self) -> bool:
        """Wait for what runs, or for what falls due while there is time; False where neither is to be expected."""
        due_in = await queries.next_job_due_in(self._db, self._runner.queues)
        will_be_due = due_in is not None and 0 < due_in < self._time_left
        if not self._runner.leased and not will_be_due:
            return False
        await self._runner.something_finished(due_in if due_in is not None and will_be_due else self._time_left)
        return True

    async def _report(self) -> RunReport:
        exhausted = self._time_left <= 0
        numbers = report_of(self._tally) | {"elapsed_ms": round((self._clock() - self._started) * 1000)}
        left: dict[str, int | None] = {"remaining_due": None, "oldest_due_age_ms": None}

        async def look_back() -> None:
            await queries.record_job_run(self._db, self.instance_id, self._caller, numbers, is_over=True)
            left.update(await queries.due_jobs(self._db))

        if not await within(COUNT_PATIENCE, look_back()):
            logger.warning("counting given up", instance_id=self.instance_id)
        report = RunReport(
            **numbers,
            **left,
            instance_id=self.instance_id,
            budget_exhausted=exhausted,
        )
        logger.info("jobs processed", **report.model_dump())
        return report


async def within(seconds: float, work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work was done in time. If not, it is cancelled, and nobody waits for it to notice.

    A call on a connection that has gone silent takes its time to be given up. Raises what the work raises.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=max(seconds, 0))
    finally:
        task.cancel()
    if not done:
        _abandoned.add(task)
        task.add_done_callback(_forget)
        return False
    await task
    return True


_abandoned: set["asyncio.Task[None]"] = set()


def _forget(task: "asyncio.Task[None]") -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        # read, so that nobody complains that it never was
        task.exception()


async def process_jobs(
    db: Database,
    actor: Actor,
    handlers: Sequence[Handler] = (),
    retention: Retention = Retention(),  # noqa: B008 - immutable
    *,
    caller: str = "cron",
    budget: float = WORK_BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> RunReport:
    """Do what is due until nothing is left or `budget` seconds are over, and report.

    Raises what the database raises; what had been settled by then stays so, and what had not is rescued by a later run.
    """
    return await Run(db, actor, handlers, retention, caller=caller, budget=budget, clock=clock).work()
