"""kill -9 of processes that do jobs, at any point: no effect is lost, and none in the database happens twice."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import asyncpg
import httpx2
import pytest

from app.database import open_database
from app.jobs.processor import process_jobs
from app.settings import Settings
from tests.concurrency.rivals import SESSIONS, until, until_waiting
from tests.conftest import Connect
from tests.jobs.support import (
    ACTOR,
    EFFECTS,
    Provider,
    attempts_of,
    effects,
    enqueue,
    enqueue_many,
    job_row,
    lose_leases,
    posts,
    provider,
    statuses,
)
from tests.live import ROOT

ROUNDS, VICTIMS, EFFECTS_A_ROUND, POSTS_A_ROUND = 12, 2, 30, 8


@pytest.fixture
def someone() -> Iterator[Provider]:
    with provider() as server:
        yield server


class Victims:
    """Processes that do jobs; each comes into the world connected, and leaves it by a signal."""

    def __init__(self, mother: Process) -> None:
        self._mother = mother
        self._alive: list[int] = []

    async def begin(self, count: int = 1) -> None:
        """Return when that many more are at work."""
        assert self._mother.stdin
        assert self._mother.stdout
        self._mother.stdin.write(b"\n" * count)
        for _ in range(count):
            self._alive.append(int(await asyncio.wait_for(self._mother.stdout.readline(), 20)))

    def kill(self) -> None:
        """End all of them at once."""
        while self._alive:
            os.kill(self._alive.pop(), signal.SIGKILL)

    async def until_dead(self) -> None:
        """Return when the last one has ended by itself."""
        (pid,) = self._alive
        async with asyncio.timeout(20):
            with suppress(ProcessLookupError):
                while True:
                    os.kill(pid, 0)
                    await asyncio.sleep(0.005)
        self._alive.clear()


@pytest.fixture
async def victims(dsn: str) -> AsyncIterator[Victims]:
    program = (sys.executable, "-m", "tests.jobs.process", dsn)
    mother = await asyncio.create_subprocess_exec(*program, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    victims = Victims(mother)
    yield victims
    victims.kill()
    mother.kill()
    await mother.wait()


async def do_the_rest(conn: asyncpg.Connection, settings: Settings) -> None:
    """Let the leases of the dead be over, and do what they left."""
    await until_buried(conn)
    async with open_database(settings) as database, httpx2.AsyncClient() as client:
        await lose_leases(conn)
        while (await process_jobs(database, ACTOR, [effects(database), posts(client, queue="posts")])).claimed:
            await lose_leases(conn)


async def until_buried(conn: asyncpg.Connection) -> None:
    """Return when no session of a killed process goes on with what it was told last."""
    await until(conn, f"({SESSIONS} AND application_name = 'holdfast') = 0")


async def test_whenever_processes_are_killed_every_effect_happens_and_each_in_the_database_once(
    victims: Victims, conn: asyncpg.Connection, settings: Settings, someone: Provider
) -> None:
    await conn.execute(EFFECTS)
    chance = random.Random(4711)  # noqa: S311 - no secret
    payload, held_by_the_dead = {"url": someone.url("ok")}, 0

    for _ in range(ROUNDS):
        await enqueue_many(conn, EFFECTS_A_ROUND, "effect", p_max_attempts=50)
        await enqueue_many(conn, POSTS_A_ROUND, "post", payload=payload, p_max_attempts=50, p_queue="posts")
        await victims.begin(VICTIMS)
        await asyncio.sleep(chance.uniform(0, 0.1))
        victims.kill()
        await until_buried(conn)
        held_by_the_dead += await lose_leases(conn)
    await do_the_rest(conn, settings)

    # some died in the middle of their work
    assert held_by_the_dead > 0
    assert await statuses(conn, "effect") == {"processed": ROUNDS * EFFECTS_A_ROUND}
    assert await statuses(conn, "post") == {"processed": ROUNDS * POSTS_A_ROUND}
    assert await conn.fetchval("SELECT count(*) FROM effects") == ROUNDS * EFFECTS_A_ROUND
    assert await conn.fetchval("SELECT count(DISTINCT job_id) FROM effects") == ROUNDS * EFFECTS_A_ROUND
    # a provider may be asked again, and knows it by the key
    jobs = await conn.fetch("SELECT id FROM jobs WHERE job_type = 'post'")
    assert set(someone.keys) == {f"{job['id']}:post" for job in jobs}


async def test_a_job_whose_process_died_after_its_request_is_sent_again_with_the_same_key(
    victims: Victims, conn: asyncpg.Connection, settings: Settings, someone: Provider
) -> None:
    job_id = await enqueue(conn, "post", {"url": someone.url("hang")}, p_queue="posts")

    await victims.begin()
    await someone.until_asked(1)
    victims.kill()
    someone.free.set()
    async with open_database(settings) as database, httpx2.AsyncClient() as client:
        # nobody may have it while its lease lasts
        assert (await process_jobs(database, ACTOR, [posts(client, queue="posts")])).claimed == 0
    assert (await job_row(conn, job_id))["status"] == "processing"
    await do_the_rest(conn, settings)

    assert someone.keys == [f"{job_id}:post"] * 2
    assert await attempts_of(conn, job_id) == ["lease_expired", "processed"]


async def test_an_effect_whose_process_died_before_its_commit_happens_once(
    victims: Victims, conn: asyncpg.Connection, connect: Connect, settings: Settings
) -> None:
    await conn.execute(EFFECTS)
    job_id = await enqueue(conn, "effect")

    async with conn.transaction():
        await conn.execute("LOCK TABLE effects")
        await victims.begin()
        await until_waiting(await connect(), 1)
        victims.kill()
    await do_the_rest(conn, settings)

    assert await conn.fetchval("SELECT array_agg(job_id) FROM effects") == [job_id]
    assert (await job_row(conn, job_id))["status"] == "processed"


async def test_a_job_that_ends_its_process_is_discarded_when_its_attempts_are_used_up(
    victims: Victims, conn: asyncpg.Connection
) -> None:
    poison = await enqueue(conn, "poison", p_max_attempts=2)

    for _ in range(2):
        await victims.begin()
        await victims.until_dead()
        assert await lose_leases(conn) == 1

    job = await job_row(conn, poison)
    assert (job["status"], await attempts_of(conn, poison)) == ("discarded", ["lease_expired"] * 2)
    assert job["error_message"].startswith("the lease of run_")
