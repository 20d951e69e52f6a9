"""The hint that something is due now, so that a worker need not find out by looking."""

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from app.database import TROUBLE, Database

# A process tells no more often: a worker that is awake looks by itself.
LEAST_SECONDS = 0.1


def channel_of(schema: str) -> str:
    """The channel of an installation: two in one database do not wake each other's workers."""
    return f"{schema}_jobs"


class Waker:
    """Tells workers, after a commit and outside of any transaction. A hint that is lost costs a moment, and no job."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._next = 0.0

    async def wake(self) -> None:
        """Tell whoever listens that something is due."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + LEAST_SECONDS
        try:
            await self._db.notify(channel_of(self._db.schema))
        except TROUBLE:
            return


async def _waker(request: Request) -> Waker:
    waker: Waker = request.app.state.waker
    return waker


Wake = Annotated[Waker, Depends(_waker)]
