"""Processes that do one bounded run after the other until they are killed, and what must hold of the jobs they had."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import httpx2

from app.database import open_database
from app.jobs.processor import process_jobs
from app.settings import Settings
from tests.concurrency.rivals import until_buried
from tests.jobs.support import ACTOR, PATIENCE_SECONDS, effects, lose_leases, posts, statuses
from tests.live import ROOT

# however often the process dies or the lease is lost, the job is tried again
NEVER_GIVEN_UP = {"p_max_attempts": 1000}
# within which somebody dies
LIFE_SECONDS = 0.1


class Victims:
    """Processes that do jobs; each comes into the world connected, and leaves it by a signal."""

    def __init__(self, mother: Process) -> None:
        self.alive: list[int] = []
        self.answers: list[float] = []
        self._mother = mother
        self._born: asyncio.Queue[int] = asyncio.Queue()

    async def begin(self, count: int = 1) -> None:
        """Return when that many more are at work."""
        assert self._mother.stdin
        self._mother.stdin.write(b"\n" * count)
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(count):
                self.alive.append(await self._born.get())

    async def listen(self) -> None:
        """Note who is born, and the seconds after which each of their runs answered."""
        assert self._mother.stdout
        async for line in self._mother.stdout:
            pid, *seconds = line.split()
            if seconds:
                self.answers.append(float(seconds[0]))
            else:
                self._born.put_nowait(int(pid))

    def kill(self, *pids: int) -> None:
        """End these at once; all of them where none is named."""
        for pid in pids or tuple(self.alive):
            self.alive.remove(pid)
            os.kill(pid, signal.SIGKILL)

    async def until_dead(self) -> None:
        """Return when the last one has ended by itself."""
        (pid,) = self.alive
        async with asyncio.timeout(PATIENCE_SECONDS):
            with suppress(ProcessLookupError):
                while True:
                    os.kill(pid, 0)
                    await asyncio.sleep(0.005)
        self.alive.clear()


@asynccontextmanager
async def victims_of(dsn: str, module: str = "tests.jobs.process", *arguments: str) -> AsyncIterator[Victims]:
    """None at first; whoever is left is killed with the block."""
    program = (sys.executable, "-m", module, dsn, *arguments)
    mother = await asyncio.create_subprocess_exec(*program, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    victims = Victims(mother)
    listening = asyncio.create_task(victims.listen())
    try:
        yield victims
    finally:
        victims.kill()
        mother.kill()
        await mother.wait()
        await listening


async def kill_again_and_again(
    victims: Victims,
    conn: asyncpg.Connection,
    add_jobs: Callable[[], Awaitable[None]],
    *,
    rounds: int,
    calls: int,
    deaths: int,
) -> None:
    """So many rounds of so many overlapping runs, of which up to `deaths` are killed at any point of their work.

    Then every lease is lost, also of those that live: what they have, others get, and they come too late.
    """
    chance = random.Random(4711)  # noqa: S311 - no secret
    for _ in range(rounds):
        await victims.begin(calls - len(victims.alive))
        await add_jobs()
        await asyncio.sleep(chance.uniform(0, LIFE_SECONDS))
        victims.kill(*chance.sample(victims.alive, chance.randint(1, deaths)))
        await lose_leases(conn)


async def do_the_rest(victims: Victims, conn: asyncpg.Connection, settings: Settings) -> None:
    """Kill whoever is left, let the leases of the dead be over, and do what they left."""
    victims.kill()
    await until_buried(conn)
    async with open_database(settings) as database, httpx2.AsyncClient() as client:
        await lose_leases(conn)
        while (await process_jobs(database, ACTOR, [effects(database), posts(client, queue="posts")])).claimed:
            await lose_leases(conn)


async def assert_each_effect_happened_once(conn: asyncpg.Connection, count: int) -> None:
    """So many jobs of a handler that has its effect inside the database are done, each once."""
    jobs = await statuses(conn, "effect")
    assert jobs == {"processed": count}, jobs
    (happened,) = await conn.fetch("SELECT count(*), count(DISTINCT job_id) FROM effects")
    assert tuple(happened) == (count, count), happened


async def assert_some_died_at_work(conn: asyncpg.Connection) -> None:
    """Else nothing was proven."""
    lost = """SELECT count(*) FROM job_attempts a JOIN job_runs r USING (instance_id)
    WHERE a.outcome = 'lease_expired' AND r.ended_at IS NULL"""
    assert await conn.fetchval(lost) > 0
