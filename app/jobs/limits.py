"""How long a job may take: one timer for all that end at once, since one costs as much as a short job."""

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar, cast

# Seconds. A job is cancelled so much later than it should be, at the most.
GRAIN = 0.01

T = TypeVar("T")
Task = asyncio.Task[object]


class OverLimitError(Exception):
    """It took longer than it may."""


class Limits:
    """Cancels what takes too long, of the jobs of one run in this loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ending: dict[int, set[Task]] = {}

    async def within(self, seconds: float, work: Awaitable[T]) -> T:
        """What `work` answers. Raises OverLimitError after so many seconds, when it has been cancelled."""
        task = cast("Task", asyncio.current_task(self._loop))
        moment = self._set(task, seconds)
        try:
            return await work
        except asyncio.CancelledError:
            if moment in self._ending:
                raise
            task.uncancel()
            raise OverLimitError from None
        finally:
            if moment in self._ending:
                self._ending[moment].discard(task)

    def _set(self, task: Task, seconds: float) -> int:
        moment = math.ceil((self._loop.time() + seconds) / GRAIN)
        if moment not in self._ending:
            self._ending[moment] = set()
            self._loop.call_at(moment * GRAIN, self._end, moment)
        self._ending[moment].add(task)
        return moment

    def _end(self, moment: int) -> None:
        for task in self._ending.pop(moment):
            task.cancel()
