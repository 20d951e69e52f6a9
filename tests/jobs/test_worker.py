"""The worker: it wakes when something is due, keeps what it runs, stops when told, and outlives its connections."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import httpx2
import pytest
from pydantic import SecretStr

from app.database import Database
from app.handlers import Handler, Job, Ok, Outcome, Retry
from app.jobs import listener, queries, runner
from app.jobs import worker as working
from app.jobs.schemas import QueueLimits
from app.jobs.worker import Worker
from app.security import Actor
from app.settings import Settings
from app.waker import Waker
from tests.concurrency.rivals import OURS, SESSIONS, begin, until, until_waiting
from tests.conftest import Connect
from tests.factories import Factory
from tests.jobs.support import (
    EFFECTS,
    PATIENCE_SECONDS,
    Gate,
    Wire,
    answers,
    attempts_of,
    effects,
    enqueue,
    enqueue_many,
    handler,
    hurry,
    job_row,
    lose_leases,
    posts,
    provider,
    statuses,
)

PERSON = Actor("admin", "ops")
LISTENERS = f"{SESSIONS} AND pid <> pg_backend_pid() AND query LIKE '%pg_listening_channels%'"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM ({}) s"

Tune = Callable[..., None]


@pytest.fixture
def tune(monkeypatch: pytest.MonkeyPatch) -> Tune:
    """Other seconds than an installation's, by their names."""

    def set_to(module: Any = working, **seconds: Any) -> None:
        for name, value in seconds.items():
            monkeypatch.setattr(module, name, value)

    return set_to


@pytest.fixture(autouse=True)
def seldom(tune: Tune) -> None:
    """A worker that hardly looks by itself, so that what is done early was done for a reason."""
    tune(POLL=120.0, HOUSEKEEPING=120.0, HEARTBEAT=120.0, GRACE=PATIENCE_SECONDS, BACKOFF=(0.01, 0.1))
    tune(listener, PROBE=0.05, RECONNECT=0.05)


@asynccontextmanager
async def at_work(database: Database, settings: Settings, *handlers: Handler) -> AsyncIterator[Worker]:
    """A worker beside the block, stopped with it."""
    worker = Worker(database, settings, handlers)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await task


async def until_asleep(conn: asyncpg.Connection) -> None:
    """Return when the worker listens, has asked for what is due, and asks no more."""
    await until(conn, f"({LISTENERS}) = 1")
    last = "SELECT max(query_start) FROM pg_stat_activity WHERE datname = current_database() AND application_name = "
    await until(conn, f"({last} 'holdfast') < clock_timestamp() - interval '0.3 s'")


async def until_done(conn: asyncpg.Connection, count: int, job_type: str = "work") -> None:
    await until(conn, f"(SELECT count(*) FROM jobs WHERE job_type = '{job_type}' AND status = 'processed') = {count}")


async def test_a_worker_wakes_when_the_next_job_is_due(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    job_id = await enqueue(conn)
    await conn.execute("UPDATE jobs SET run_at = clock_timestamp() + interval '0.5 s'")

    async with at_work(database, settings, answers(Ok())):
        await until_done(conn, 1)

    job = await job_row(conn, job_id)
    assert job["attempted_at"] >= job["run_at"]


async def test_a_worker_that_sleeps_is_woken_by_a_hint(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    async with at_work(database, settings, answers(Ok())):
        await until_asleep(conn)
        await enqueue(conn)
        assert await statuses(conn) == {"pending": 1}
        await Waker(database).wake()
        await until_done(conn, 1)


async def test_hints_are_few_however_many_are_given(database: Database, conn: asyncpg.Connection) -> None:
    heard: list[str] = []
    await conn.add_listener("holdfast_jobs", lambda *_: heard.append("hint"))
    now = 100.0
    waker = Waker(database, clock=lambda: now)

    for _ in range(5):
        await waker.wake()
    now += 0.2
    await waker.wake()

    await conn.execute("SELECT")
    assert len(heard) == 2


async def test_a_hint_that_cannot_be_given_is_no_error(database: Database, conn: asyncpg.Connection) -> None:
    await conn.fetch(TERMINATE.format(OURS.replace("count(*)", "pid")))

    await Waker(database).wake()


async def test_behind_a_transaction_pooler_a_worker_listens_to_nobody_and_looks_by_itself(
    database: Database, settings: Settings, conn: asyncpg.Connection, tune: Tune
) -> None:
    tune(POLL=0.05)
    async with at_work(database, settings.model_copy(update={"db_pooler": "transaction"}), answers(Ok())):
        await enqueue(conn)
        await until_done(conn, 1)
        assert await conn.fetchval(LISTENERS) == 0


async def test_a_listener_whose_connection_died_comes_back_and_misses_nothing(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    async with at_work(database, settings, answers(Ok())):
        await until_asleep(conn)
        # it sleeps, and no hint is given: it looks because it listens anew
        await enqueue(conn)
        assert await conn.fetchval(TERMINATE.format(LISTENERS.replace("count(*)", "pid")))
        await until_done(conn, 1)

        await until_asleep(conn)
        await enqueue(conn)
        await Waker(database).wake()
        await until_done(conn, 2)


async def test_a_listener_whose_connection_falls_silent_gives_it_up_and_misses_nothing_when_it_is_back(
    database: Database, settings: Settings, conn: asyncpg.Connection, tune: Tune
) -> None:
    tune(listener, PATIENCE=0.3)
    async with Wire(settings.dsn) as wire:
        away = settings.model_copy(update={"database_url": SecretStr(wire.dsn)})
        # it claims by another way, and looks for nothing by itself
        async with at_work(database, away, answers(Ok())):
            await until_asleep(conn)
            wire.fall_silent()
            await wire.until_called()
            await enqueue(conn)
            await Waker(database).wake()
            assert await statuses(conn) == {"pending": 1}
            wire.speak_again()
            await until_done(conn, 1)

            await until_asleep(conn)
            await enqueue(conn)
            await Waker(database).wake()
            await until_done(conn, 2)


async def test_while_its_listener_is_deaf_a_worker_finds_what_is_due_by_looking(
    database: Database, settings: Settings, conn: asyncpg.Connection, tune: Tune
) -> None:
    tune(POLL=0.05)
    async with Wire(settings.dsn) as wire:
        wire.fall_silent()
        away = settings.model_copy(update={"database_url": SecretStr(wire.dsn)})
        async with at_work(database, away, answers(Ok())):
            await enqueue(conn)
            await until_done(conn, 1)
            await enqueue(conn)
            await until_done(conn, 2)
            assert await conn.fetchval(LISTENERS) == 0


async def test_a_running_job_is_leased_for_longer_and_longer_and_nobody_else_gets_it(
    database: Database, settings: Settings, conn: asyncpg.Connection, tune: Tune
) -> None:
    tune(LEASE=2.0, RENEW=0.1, HOUSEKEEPING=0.1, POLL=0.1)
    gate = Gate()
    job_id = await enqueue(conn)

    # two workers that look for lost jobs all the time
    async with at_work(database, settings, handler(gate, limit=30)), at_work(database, settings, handler(gate)):
        await gate.until_begun(1)
        await until(conn, "(SELECT clock_timestamp() - attempted_at > interval '3 s' FROM jobs)")
        gate.open.set()
        await until_done(conn, 1)

    assert gate.begun == {job_id: 1}
    assert await attempts_of(conn, job_id) == ["processed"]


async def test_a_job_whose_lease_was_not_renewed_is_done_by_another_and_its_provider_sees_one_key(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    with provider() as someone:
        async with httpx2.AsyncClient(timeout=None) as client:
            job_id = await enqueue(conn, "post", {"url": someone.url("hang")})
            async with at_work(database, settings, posts(client)) as stalled:
                await someone.until_asked(1)
                await lose_leases(conn)
                async with at_work(database, settings, posts(client)):
                    await someone.until_asked(2)
                    someone.free.set()
                    await until_done(conn, 1, "post")

    assert someone.keys == [f"{job_id}:post"] * 2
    assert await attempts_of(conn, job_id) == ["lease_expired", "processed"]
    assert (await report_of(conn, stalled))["stale"] == 1


async def report_of(conn: asyncpg.Connection, worker: Worker) -> Any:
    """What a worker that has stopped said of itself."""
    query = "SELECT report FROM job_runs WHERE instance_id = $1 AND caller = 'worker' AND ended_at IS NOT NULL"
    return json.loads(await conn.fetchval(query, worker.instance_id))


async def test_a_job_that_was_lost_is_stopped(
    database: Database, settings: Settings, conn: asyncpg.Connection, tune: Tune
) -> None:
    tune(RENEW=0.05)
    gate = Gate()
    job_id = await enqueue(conn)

    async with at_work(database, settings, handler(gate, limit=60)):
        await gate.until_begun(1)
        await conn.execute("SELECT rescue_jobs(10, now() + interval '10 minutes')")
        await gate.until_cancelled(1)

    assert gate.cancelled == {job_id: 1}
    assert await statuses(conn) == {"pending": 1}


async def test_somebody_who_cancels_a_running_job_stops_its_handler(
    database: Database, settings: Settings, conn: asyncpg.Connection, tune: Tune
) -> None:
    tune(RENEW=0.05)
    gate = Gate()
    job_id = await enqueue(conn)

    async with at_work(database, settings, handler(gate, limit=60)):
        await gate.until_begun(1)
        await queries.cancel_job(database, PERSON, job_id)
        await until(conn, "(SELECT status FROM jobs) = 'cancelled'")

    assert gate.cancelled == {job_id: 1}
    assert gate.begun == {job_id: 1}


async def test_a_worker_told_to_stop_ends_what_it_has_and_takes_nothing_more(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    gate = Gate()
    job_id = await enqueue(conn)
    async with at_work(database, settings, handler(gate, limit=60)) as worker:
        await gate.until_begun(1)
        await until_asleep(conn)
        worker.stop()
        await enqueue_many(conn, 3)
        await Waker(database).wake()
        gate.open.set()

    assert gate.begun == {job_id: 1}
    assert await statuses(conn) == {"processed": 1, "pending": 3}
    report = await report_of(conn, worker)
    assert {word: count for word, count in report.items() if count} == {"claimed": 1, "processed": 1}
    await until(conn, f"({LISTENERS}) = 0")


async def test_a_worker_told_to_stop_ends_its_sweep_and_counts_it(
    database: Database, settings: Settings, conn: asyncpg.Connection, connect: Connect, make: Factory
) -> None:
    await make.ended_bookings()
    observer = await connect()

    async with conn.transaction():
        await conn.execute("LOCK TABLE audit_log IN SHARE MODE")
        worker = Worker(database, settings, [])
        task = asyncio.create_task(worker.run())
        await until_waiting(observer, 1)
        worker.stop()
        await observer.execute("SELECT")
    await task

    assert await conn.fetchval("SELECT status FROM bookings") == "completed"
    assert (await report_of(conn, worker))["processed"] == 1


async def test_what_does_not_end_within_the_grace_is_given_back(
    database: Database, settings: Settings, conn: asyncpg.Connection, tune: Tune
) -> None:
    tune(GRACE=0.05)
    gate = Gate()
    job_id = await enqueue(conn)
    async with at_work(database, settings, handler(gate, limit=60)):
        await gate.until_begun(1)

    assert gate.cancelled == {job_id: 1}
    assert ((await job_row(conn, job_id))["status"], await attempts_of(conn, job_id)) == ("pending", ["budget"])


async def test_a_worker_starts_the_jobs_of_a_staggered_queue_apart_from_the_first(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    await queries.put_queue(database, PERSON, "default", QueueLimits(stagger_ms=60_000))
    gate = Gate()
    await enqueue_many(conn, 3)

    async with at_work(database, settings, handler(gate, limit=60)) as worker:
        await gate.until_begun(1)
        await until_asleep(conn)
        assert gate.begun.total() == 1
        worker.stop()
        gate.open.set()


async def test_a_queue_of_a_family_that_is_set_while_the_worker_sleeps_is_served_at_the_first_hint(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    async with at_work(database, settings, answers(Ok(), queue="gym:*"), answers(Ok(), "mail")):
        await until_asleep(conn)
        await queries.put_queue(database, PERSON, "gym:a", QueueLimits())
        await enqueue(conn, p_queue="gym:a")
        await Waker(database).wake()
        await until_done(conn, 1)


async def test_a_worker_told_to_stop_gives_back_what_it_has_not_begun(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    gate = Gate()
    first, *others = await enqueue_many(conn, 3)
    await queries.put_queue(database, PERSON, "default", QueueLimits(stagger_ms=60_000))

    # much less than its grace, which is for what has begun
    async with asyncio.timeout(PATIENCE_SECONDS / 2):
        async with at_work(database, settings, handler(gate, limit=60)) as worker:
            await gate.until_begun(1)
            worker.stop()
            gate.open.set()

    assert await attempts_of(conn, first) == ["processed"]
    assert [(await job_row(conn, job_id))["attempt"] for job_id in others] == [0, 0]


async def test_a_job_that_is_never_due_is_in_nobodys_way(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    with suppress(asyncpg.CheckViolationError, asyncpg.DataError):
        await conn.execute("SELECT enqueue_job('work', p_run_at => 'infinity')")
    await enqueue(conn)

    async with at_work(database, settings, answers(Ok())):
        await until_done(conn, 1)
        await until_asleep(conn)
        await enqueue(conn)
        await Waker(database).wake()
        await until_done(conn, 2)


async def test_what_nobody_here_knows_is_given_back_at_once(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    job_id = await enqueue(conn, "of_a_newer_version")

    async with at_work(database, settings, answers(Ok())):
        await until(conn, "(SELECT attempt = 0 AND lease_token = 1 AND status = 'pending' FROM jobs)")

    assert await attempts_of(conn, job_id) == ["snoozed"]


async def test_what_the_database_would_not_settle_is_settled_a_moment_later(
    database: Database, settings: Settings, conn: asyncpg.Connection, connect: Connect
) -> None:
    observer, gate = await connect(), Gate()
    await enqueue(conn)

    async with at_work(database, settings, handler(gate, limit=60)):
        await gate.until_begun(1)
        async with conn.transaction():
            await conn.execute("SELECT FROM jobs FOR UPDATE")
            gate.open.set()
            await until_waiting(observer, 1)
            waiting = OURS.replace("count(*)", "pid") + " AND wait_event_type = 'Lock'"
            assert await observer.fetchval(TERMINATE.format(waiting))
        await until_done(conn, 1)


async def test_leases_are_renewed_in_the_order_in_which_jobs_are_settled(
    database: Database, conn: asyncpg.Connection, connect: Connect
) -> None:
    observer = await connect()
    await enqueue_many(conn, 20)
    jobs = sorted(await queries.claim_jobs(database, "one", "default", 20, 60), key=lambda job: job.id)

    async with conn.transaction():
        await conn.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", jobs[0].id)
        (renewing,) = begin([queries.extend_leases(database, jobs[::-1], 60)])
        await until_waiting(observer, 1)
        # it waits for the first by id, and holds none that a settlement could wait for meanwhile
        assert len(await conn.fetch("SELECT FROM jobs FOR UPDATE SKIP LOCKED")) == 20
    assert len(await renewing) == 20


async def test_a_worker_whose_connections_are_killed_again_and_again_loses_and_doubles_nothing(
    database: Database, settings: Settings, conn: asyncpg.Connection, tune: Tune
) -> None:
    tune(POLL=0.05, HOUSEKEEPING=0.1, LEASE=0.6, RENEW=0.1)
    tune(runner, BREAKER_FAILURES=1_000_000)
    await conn.execute(EFFECTS)
    await enqueue_many(conn, 150, "effect", p_max_attempts=100)
    await conn.execute("UPDATE jobs SET run_at = clock_timestamp() + seq * interval '5 ms'")

    async with at_work(database, settings, effects(database)):
        for _ in range(6):
            done = await conn.fetchval("SELECT count(*) FROM effects")
            await until(conn, f"(SELECT count(*) FROM effects) >= {min(done + 10, 150)}")
            await conn.fetch(TERMINATE.format(OURS.replace("count(*)", "pid")))
            await hurry(conn)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await statuses(conn, "effect") != {"processed": 150}:
                await hurry(conn)
                await asyncio.sleep(0.05)

    assert await conn.fetchval("SELECT count(*) FROM effects") == 150
    assert await conn.fetchval("SELECT count(DISTINCT job_id) FROM effects") == 150


async def test_a_database_that_breaks_off_says_nothing_against_a_queue(
    database: Database, settings: Settings, conn: asyncpg.Connection, connect: Connect
) -> None:
    observer = await connect()
    await conn.execute(EFFECTS)
    await enqueue_many(conn, 5, "effect")

    async with at_work(database, settings, effects(database)):
        async with conn.transaction():
            await conn.execute("LOCK TABLE effects")
            await until_waiting(observer, 5)
            await observer.fetch(TERMINATE.format(OURS.replace("count(*)", "pid")))
        await until(conn, "(SELECT count(*) FROM job_attempts WHERE outcome = 'failed') = 5")
        await hurry(conn)
        await Waker(database).wake()
        await until_done(conn, 5, "effect")

    assert await conn.fetchval("SELECT count(*) FROM job_queues") == 0


async def test_a_worker_does_what_the_database_does_by_itself(
    database: Database, settings: Settings, conn: asyncpg.Connection, tune: Tune
) -> None:
    tune(HOUSEKEEPING=0.05)
    await enqueue(conn, p_queue="nobodys")
    await queries.claim_jobs(database, "dead", "nobodys", 1, -1)

    async with at_work(database, settings):
        await until(conn, "(SELECT array_agg(outcome) FROM job_attempts) = ARRAY['lease_expired']")


async def test_a_stubborn_failure_is_tried_again_when_its_time_has_come(
    database: Database, settings: Settings, conn: asyncpg.Connection
) -> None:
    async def second_time_lucky(job: Job) -> Outcome:
        return Ok() if job.attempt == 2 else Retry("busy")

    job_id = await enqueue(conn)
    async with at_work(database, settings, handler(second_time_lucky)):
        await until(conn, "(SELECT attempt = 1 AND status = 'pending' FROM jobs)")
        await hurry(conn)
        await Waker(database).wake()
        await until_done(conn, 1)

    assert await attempts_of(conn, job_id) == ["failed", "processed"]
