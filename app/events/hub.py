"""One reader a process finds what is new, and everybody who follows gets it from memory.

Who comes back after a while reads from the database until little is missing, then asks the hub where it stands, reads
up to exactly there, and is told the rest. While nobody follows, nothing is read.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

from app.database import TROUBLE, Database
from app.events.queries import Batch, Told, Wanted, is_whole, read_events, round_between
from app.waiting import happens

# Seconds.
POLL = 0.2
BACKOFF = 1.0
HEARTBEAT = 10.0
# Events that wait for a slow follower; with more it goes back to the database, and is told no less.
ROOM = 1000

logger = structlog.get_logger(__name__)


class Follower:
    """What one follower has yet to be told."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.joined: asyncio.Future[str] | None = None
        self.is_live = False
        self._waiting: list[Told] = []
        self._something = asyncio.Event()

    def begin(self, cursor: str) -> None:
        """Be told what comes after this cursor."""
        if self.joined and not self.joined.done():
            self.joined.set_result(cursor)
            self.is_live = True
            self._waiting = []

    def fail(self, error: Exception) -> None:
        """Be told that the hub cannot say where it stands."""
        if self.joined and not self.joined.done():
            self.joined.set_exception(error)

    def tell(self, event: Told) -> None:
        """Keep an event until it is taken, if it is wanted and there is room."""
        if self.is_live and event in self.wanted:
            self.is_live = len(self._waiting) < ROOM
            self._waiting.append(event)
            self._something.set()

    def wake(self) -> None:
        """Let `take` return."""
        self._something.set()

    async def take(self, patience: float) -> list[Told]:
        """What came since the last time; nothing, if nothing comes within so many seconds."""
        await happens(self._something, patience)
        self._something.clear()
        taken, self._waiting = self._waiting, []
        return taken


class Hub:
    """Reads what is new once for all who follow."""

    def __init__(self, db: Database) -> None:
        self.is_closed = False
        self._db = db
        self._cursor: str | None = None
        self._followers: set[Follower] = set()
        self._hurry = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Let everybody who follows come to an end."""
        self.is_closed = True
        self._hurry.set()
        for follower in self._followers:
            follower.fail(ConnectionAbortedError())
            follower.wake()

    async def wait_closed(self) -> None:
        """Return when nothing is read any more."""
        if self._reader:
            await self._reader

    @contextmanager
    def follower(self, wanted: Wanted) -> Iterator[Follower]:
        """Somebody who may follow inside the block."""
        follower = Follower(wanted)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)
            self._hurry.set()

    async def follow(self, follower: Follower, cursor: str | None, batch: Batch) -> AsyncIterator[Told | str]:
        """Every event that is wanted from the batch on, which was read at the cursor, once and in order.

        A bare cursor, to go on from, says that nothing came for a while. Ends when the hub is closed. Raises what
        TROUBLE names when the database is away.
        """
        while not self.is_closed:
            for event in batch.events:
                yield event
            is_near = (cursor is None or is_whole(cursor)) and batch.is_last
            cursor = batch.cursor
            if is_near:
                async for step in self._live(follower, cursor):
                    yield step
                    cursor = step if isinstance(step, str) else step.cursor
            batch = await read_events(self._db, cursor, follower.wanted)

    async def _live(self, follower: Follower, cursor: str) -> AsyncIterator[Told | str]:
        """What comes after a whole cursor, as it comes, until the follower falls behind."""
        cursor = round_between(cursor, await self._join(follower))
        while not is_whole(cursor):
            batch = await read_events(self._db, cursor, follower.wanted)
            for event in batch.events:
                yield event
            cursor = batch.cursor
        yield cursor
        while follower.is_live and not self.is_closed:
            events = await follower.take(HEARTBEAT)
            for event in events:
                yield event
            if not events and self._cursor:
                yield self._cursor

    async def _join(self, follower: Follower) -> str:
        """Where the hub stands, after a look that began just now; from there on the follower is told."""
        if self.is_closed:
            raise ConnectionAbortedError
        follower.joined = asyncio.get_running_loop().create_future()
        self._hurry.set()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        return await follower.joined

    async def _read(self) -> None:
        try:
            while self._followers and not self.is_closed:
                self._hurry.clear()
                pause = await self._look()
                await happens(self._hurry, pause)
        finally:
            # who comes next begins where the database stands by then
            self._reader = self._cursor = None

    async def _look(self) -> float:
        """Tell what is new, let in who waited for it, and say how long to pause."""
        # a round that was broken off is an old one
        is_new = self._cursor is None or is_whole(self._cursor)
        joining = [f for f in self._followers if f.joined and not f.joined.done()] if is_new else []
        try:
            cursor = await self._read_round()
        except TROUBLE as error:
            logger.warning("cannot read events", error=type(error).__name__)
            for follower in joining:
                follower.fail(error)
            return BACKOFF
        for follower in joining:
            follower.begin(cursor)
        return POLL

    async def _read_round(self) -> str:
        while True:
            batch = await read_events(self._db, self._cursor)
            self._cursor = batch.cursor
            for event in batch.events:
                for follower in self._followers:
                    follower.tell(event)
            if batch.is_last:
                return batch.cursor


@asynccontextmanager
async def open_hub(db: Database) -> AsyncIterator[Hub]:
    """A hub whose followers have come to an end when the block is left."""
    hub = Hub(db)
    try:
        yield hub
    finally:
        hub.close()
        await hub.wait_closed()
