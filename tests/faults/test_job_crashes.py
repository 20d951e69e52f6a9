"""kill -9 of processes that do jobs, at any point: no effect is lost, and none in the database happens twice."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import httpx2
import pytest

from app.database import open_database
from app.jobs.processor import process_jobs
from app.settings import Settings
from tests.concurrency.rivals import until_waiting
from tests.conftest import Connect
from tests.jobs.support import (
    ACTOR,
    EFFECTS,
    Provider,
    attempts_of,
    enqueue,
    enqueue_many,
    job_row,
    lose_leases,
    posts,
    provider,
    statuses,
)
from tests.jobs.victims import (
    NEVER_GIVEN_UP,
    Victims,
    assert_each_effect_happened_once,
    assert_some_died_at_work,
    do_the_rest,
    kill_again_and_again,
    victims_of,
)

ROUNDS, CALLS, EFFECTS_A_ROUND, POSTS_A_ROUND = 12, 2, 30, 8


@pytest.fixture
def someone() -> Iterator[Provider]:
    with provider() as server:
        yield server


@pytest.fixture
async def victims(dsn: str) -> AsyncIterator[Victims]:
    async with victims_of(dsn) as victims:
        yield victims


async def test_whenever_processes_are_killed_every_effect_happens_and_each_in_the_database_once(
    victims: Victims, conn: asyncpg.Connection, settings: Settings, someone: Provider
) -> None:
    await conn.execute(EFFECTS)
    payload = {"url": someone.url("ok")}

    async def add_jobs() -> None:
        await enqueue_many(conn, EFFECTS_A_ROUND, "effect", **NEVER_GIVEN_UP)
        await enqueue_many(conn, POSTS_A_ROUND, "post", payload=payload, p_queue="posts", **NEVER_GIVEN_UP)

    await kill_again_and_again(victims, conn, add_jobs, rounds=ROUNDS, calls=CALLS, deaths=CALLS)
    await do_the_rest(victims, conn, settings)

    await assert_each_effect_happened_once(conn, ROUNDS * EFFECTS_A_ROUND)
    await assert_some_died_at_work(conn)
    assert await statuses(conn, "post") == {"processed": ROUNDS * POSTS_A_ROUND}
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
    await do_the_rest(victims, conn, settings)

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
    await do_the_rest(victims, conn, settings)

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
