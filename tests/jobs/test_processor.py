"""A bounded run: it ends in time, starts jobs in their order and apart, and no queue takes all of it."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx2
import pytest
from pydantic import SecretStr

from app.database import Database, open_database
from app.handlers import FollowUp, Handler, Job, Ok, Outcome, Permanent, Retry, Skip, Snooze
from app.jobs import queries
from app.jobs.processor import ANSWER_LIMIT, CONCURRENCY, WORK_BUDGET, process_jobs
from app.jobs.schemas import QueueLimits, RunReport
from app.security import Actor
from app.settings import Settings
from tests.jobs.support import (
    ACTOR,
    Gate,
    Provider,
    Wire,
    answers,
    attempts_of,
    enqueue,
    enqueue_many,
    handler,
    job_row,
    lose_leases,
    posts,
    provider,
    raises,
    statuses,
)

PERSON = Actor("admin", "ops")
WORDS = {"claimed", "processed", "retried", "skipped", "discarded", "released", "rescued", "cancelled", "stale"}
BUSY_SECONDS = 5.0


async def run_for(database: Database, budget: float, *handlers: Handler) -> RunReport:
    """The report of a run with that budget, which answered in time, give or take what a busy machine takes."""
    started = time.monotonic()
    report = await process_jobs(database, ACTOR, handlers, budget=budget)
    assert time.monotonic() - started < budget + ANSWER_LIMIT - WORK_BUDGET + BUSY_SECONDS
    return report


async def queue_row(conn: asyncpg.Connection, name: str) -> dict[str, Any] | None:
    row = await conn.fetchrow("SELECT * FROM job_queues WHERE name = $1", name)
    return dict(row) if row else None


@pytest.fixture
def someone() -> Iterator[Provider]:
    with provider() as server:
        yield server


class Starts:
    """A handler that notes when each job was begun."""

    def __init__(self, then: Callable[[Job], Outcome] = lambda _job: Ok()) -> None:
        self.began_at: dict[Any, float] = {}
        self._then = then

    async def __call__(self, job: Job) -> Outcome:
        """Run as a handler does."""
        self.began_at[job.id] = time.monotonic()
        return self._then(job)


async def test_a_run_of_jobs_that_take_longer_answers_in_time_and_leaves_none_leased(
    database: Database, conn: asyncpg.Connection
) -> None:
    seconds = itertools.cycle((0.05, 0.3, 3.0))

    async def takes_a_while(_job: Job) -> Outcome:
        await asyncio.sleep(next(seconds))
        return Ok()

    await enqueue_many(conn, 100)

    report = await run_for(database, 1.0, handler(takes_a_while))

    assert report.budget_exhausted
    assert report.processed > 0 < report.retried
    assert report.claimed == report.processed + report.retried + report.released
    assert await statuses(conn) == {"processed": report.processed, "pending": 100 - report.processed}


async def test_at_the_end_of_a_run_what_hangs_is_cancelled_and_what_does_not_hear_keeps_its_lease(
    database: Database, conn: asyncpg.Connection
) -> None:
    hearing, deaf = Gate(), Gate(is_deaf=True)
    heard = await enqueue_many(conn, 3, "hearing")
    unheard = await enqueue(conn, "deaf")

    report = await run_for(database, 2.0, handler(hearing, "hearing", needs=0.1), handler(deaf, "deaf", needs=0.1))

    assert report.budget_exhausted
    assert (report.claimed, report.retried) == (4, 3)
    assert await statuses(conn, "hearing") == {"pending": 3}
    assert hearing.cancelled.keys() == set(heard)
    job = await job_row(conn, unheard)
    assert (job["status"], job["leased_by"]) == ("processing", report.instance_id)
    # for as long as an answer may take, and twenty seconds more
    assert timedelta(seconds=20) < job["leased_until"] - job["attempted_at"] <= timedelta(seconds=30)
    deaf.open.set()


async def test_a_hanging_provider_does_not_keep_the_caller_waiting(
    database: Database, conn: asyncpg.Connection, someone: Provider
) -> None:
    ids = await enqueue_many(conn, 4, "post", payload={"url": someone.url("hang")})

    async with httpx2.AsyncClient(timeout=None) as client:
        await run_for(database, 2.0, posts(client, needs=0.1))

    assert await statuses(conn, "post") == {"pending": 4}
    assert sorted(someone.keys) == sorted(f"{job_id}:post" for job_id in ids)


async def test_a_database_that_falls_silent_does_not_keep_the_caller_waiting(
    settings: Settings, conn: asyncpg.Connection
) -> None:
    gate = Gate()
    await enqueue_many(conn, 3)
    async with Wire(settings.dsn) as wire:
        away = settings.model_copy(update={"database_url": SecretStr(wire.dsn)})
        async with open_database(away) as database:
            run = asyncio.create_task(run_for(database, 3.0, handler(gate, needs=0.1)))
            await gate.until_begun(3)
            wire.fall_silent()
            gate.open.set()
            report = await run
            wire.hang_up()

    # whoever comes next finds out what became of them
    assert (report.claimed, report.remaining_due) == (3, None)
    assert await statuses(conn) == {"processing": 3}


async def test_jobs_of_a_staggered_queue_start_in_order_and_none_too_early(
    database: Database, conn: asyncpg.Connection
) -> None:
    await queries.put_queue(database, PERSON, "default", QueueLimits(stagger_ms=50))
    ids = await enqueue_many(conn, 30)
    starts = Starts()

    began = time.monotonic()
    report = await run_for(database, 1.0, handler(starts, needs=0.1))

    assert list(starts.began_at) == ids[: len(starts.began_at)]
    for n, at in enumerate(starts.began_at.values()):
        assert at >= began + n * 0.05
    assert 1 < len(starts.began_at) <= 1.0 / 0.05
    # the rest was never touched, or given back as it was
    assert report.processed == len(starts.began_at)
    left = "SELECT count(*) FROM jobs WHERE status = 'pending' AND attempt = 0 AND error_message IS NULL"
    assert await conn.fetchval(left) == 30 - report.processed


async def test_a_job_that_falls_due_within_the_run_is_done_by_it(database: Database, conn: asyncpg.Connection) -> None:
    starts = Starts()
    job_id = await enqueue(conn)
    await conn.execute("UPDATE jobs SET run_at = clock_timestamp() + interval '0.4 s'")

    report = await run_for(database, 4.0, handler(starts))

    job = await job_row(conn, job_id)
    assert (report.processed, report.budget_exhausted, job["status"]) == (1, False, "processed")
    assert timedelta() <= job["attempted_at"] - job["run_at"] < timedelta(seconds=1)


async def test_a_job_that_falls_due_while_another_runs_is_not_kept_waiting_by_it(
    database: Database, conn: asyncpg.Connection
) -> None:
    slow = Gate()

    async def opens(_job: Job) -> Outcome:
        slow.open.set()
        return Ok()

    await enqueue(conn, "slow")
    await enqueue(conn, "opens")
    await conn.execute("UPDATE jobs SET run_at = clock_timestamp() + interval '0.3 s' WHERE job_type = 'opens'")

    report = await run_for(database, 3.0, handler(slow, "slow"), handler(opens, "opens"))

    # the first could not end before the second had begun
    assert (report.processed, report.retried) == (2, 0)


async def test_what_follows_a_job_is_done_in_the_same_run(database: Database, conn: asyncpg.Connection) -> None:
    await enqueue(conn)

    report = await run_for(
        database, 3.0, answers(Ok(follow_ups=(FollowUp("next", queue="b"),))), answers(Ok(), "next", queue="b")
    )

    assert report.processed == 2
    assert await statuses(conn, "next") == {"processed": 1}


async def test_a_queue_that_hangs_leaves_the_others_half_of_the_places_and_is_paused(
    database: Database, conn: asyncpg.Connection
) -> None:
    dead = Gate()
    await enqueue_many(conn, 2 * CONCURRENCY, "dead", p_queue="a")
    await enqueue_many(conn, 20, "healthy", p_queue="b")

    async def healthy(_job: Job) -> Outcome:
        assert dead.begun.total() - dead.cancelled.total() <= CONCURRENCY / 2
        return Ok()

    report = await run_for(
        database, 2.0, handler(dead, "dead", queue="a", limit=0.3), handler(healthy, "healthy", queue="b")
    )

    assert await statuses(conn, "healthy") == {"processed": 20}
    assert report.processed == 20
    queue = await queue_row(conn, "a")
    assert queue is not None
    assert (queue["pause_reason"], await queue_row(conn, "b")) == ("5 failures on end", None)
    assert queue["resume_at"] - queue["paused_at"] == timedelta(seconds=60)
    # nothing of it was begun after that
    assert dead.begun.total() < 2 * CONCURRENCY


async def test_a_queue_whose_jobs_fail_is_paused_and_the_rest_of_it_keeps_its_attempts(
    database: Database, conn: asyncpg.Connection
) -> None:
    await enqueue_many(conn, 4 * CONCURRENCY, "dead", p_queue="a")

    report = await run_for(database, 2.0, raises(OSError("refused"), "dead", queue="a"))

    assert await queue_row(conn, "a") is not None
    assert 5 <= report.retried <= 2 * CONCURRENCY
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE attempt = 0") == 4 * CONCURRENCY - report.retried


async def test_a_success_between_failures_leaves_its_queue_alone(database: Database, conn: asyncpg.Connection) -> None:
    turns = 0

    async def every_fifth(_job: Job) -> Outcome:
        nonlocal turns
        turns += 1
        return Ok() if turns % 5 == 0 else Retry("busy")

    await enqueue_many(conn, 20)

    report = await run_for(database, 3.0, handler(every_fifth))

    assert (report.processed, report.retried) == (4, 16)
    assert await queue_row(conn, "default") is None


async def test_a_fault_of_our_own_says_nothing_against_a_queue(database: Database, conn: asyncpg.Connection) -> None:
    await enqueue_many(conn, 20)

    report = await run_for(database, 2.0, answers(Retry("a key is missing", is_ours=True)))

    assert report.retried == 20
    assert await queue_row(conn, "default") is None


async def test_jobs_cut_off_by_the_end_of_a_run_say_nothing_against_their_queue(
    database: Database, conn: asyncpg.Connection
) -> None:
    gate = Gate()

    async def slow_in_the_end(job: Job) -> Outcome:
        return await gate(job) if job.payload["is_slow"] else Ok()

    await enqueue_many(conn, 10, payload={"is_slow": False})
    await enqueue_many(conn, 10, payload={"is_slow": True})

    report = await run_for(database, 1.0, handler(slow_in_the_end, needs=0.1))

    assert (report.processed, report.retried, report.budget_exhausted) == (10, 10, True)
    assert await queue_row(conn, "default") is None


async def test_a_pause_that_a_person_asked_for_outlasts_the_breakers(
    database: Database, conn: asyncpg.Connection
) -> None:
    gate = Gate(outcome=Retry("refused"))
    await enqueue_many(conn, 10, "dead", p_queue="a")

    run = asyncio.create_task(run_for(database, 4.0, handler(gate, "dead", queue="a")))
    await gate.until_begun(10)
    await queries.pause_queue(database, PERSON, "a", None, "the provider is down")
    gate.open.set()
    assert (await run).retried == 10

    queue = await queue_row(conn, "a")
    assert queue is not None
    assert (queue["resume_at"], queue["pause_reason"]) == (None, "the provider is down")


async def test_a_job_that_needs_more_time_than_is_left_is_given_back_once(
    database: Database, conn: asyncpg.Connection
) -> None:
    starts = Starts()
    job_id = await enqueue(conn, "slow")

    report = await run_for(database, 2.0, handler(starts, "slow", needs=2.1), handler(starts, needs=0.1))

    assert (starts.began_at, report.released) == ({}, 1)
    assert ((await job_row(conn, job_id))["attempt"], await attempts_of(conn, job_id)) == (0, ["released"])


async def test_runs_that_overlap_begin_each_job_once(database: Database, conn: asyncpg.Connection) -> None:
    gate = Gate()
    gate.open.set()
    ids = await enqueue_many(conn, 60)

    reports = await asyncio.gather(*(run_for(database, 5.0, handler(gate)) for _ in range(4)))

    assert gate.begun == dict.fromkeys(ids, 1)
    assert sum(report.processed for report in reports) == 60
    assert sum(report.stale for report in reports) == 0


async def test_a_paused_queue_is_left_alone(database: Database, conn: asyncpg.Connection) -> None:
    await enqueue(conn)
    await queries.pause_queue(database, PERSON, "default", None, None)

    report = await run_for(database, 3.0, answers(Ok()))

    assert (report.claimed, report.remaining_due, report.budget_exhausted) == (0, 1, False)
    assert report.elapsed_ms < 3000


async def test_a_run_reports_what_became_of_each_job(database: Database, conn: asyncpg.Connection) -> None:
    async def loses(job: Job) -> Outcome:
        assert await lose_leases(conn) == 1
        await conn.execute("UPDATE jobs SET run_at = '2040-01-01' WHERE id = $1", job.id)
        return Ok()

    async def is_cancelled(job: Job) -> Outcome:
        await queries.cancel_job(database, PERSON, job.id)
        return Retry("busy")

    outcomes: dict[str, Outcome] = {
        "ok": Ok(),
        "retry": Retry("busy", timedelta(hours=1)),
        "permanent": Permanent("gone"),
        "skip": Skip("not needed"),
        "snooze": Snooze(datetime(2040, 1, 1, tzinfo=UTC)),
    }
    handlers = [answers(outcome, job_type) for job_type, outcome in outcomes.items()]
    for job_type in (*outcomes, "ok"):
        await enqueue(conn, job_type)
    await enqueue(conn, "cancelled", p_queue="b")
    await process_jobs(database, ACTOR, [*handlers, handler(is_cancelled, "cancelled", queue="b")], caller="cli")
    assert await statuses(conn, "cancelled") == {"cancelled": 1}
    await enqueue(conn, "stale", p_queue="c")
    died = await enqueue(conn, "died", p_queue="nobodys")
    await queries.claim_jobs(database, "dead", "nobodys", 1, -1)

    report = await process_jobs(database, ACTOR, [handler(loses, "stale", queue="c")])

    numbers = report.model_dump()
    assert {name: n for name, n in numbers.items() if name in WORDS and n} == {"claimed": 1, "rescued": 1, "stale": 1}
    assert await attempts_of(conn, died) == ["lease_expired"]
    runs = await conn.fetch("SELECT * FROM job_runs WHERE instance_id LIKE 'run%' ORDER BY started_at")
    assert [run["caller"] for run in runs] == ["cli", "cron"]
    assert all(run["ended_at"] >= run["started_at"] for run in runs)
    assert {n: v for n, v in json.loads(runs[0]["report"]).items() if n in WORDS and v} == {
        "claimed": 7,
        "processed": 2,
        "retried": 1,
        "discarded": 1,
        "skipped": 1,
        "released": 1,
        "cancelled": 1,
    }
    assert json.loads(runs[1]["report"]).items() <= numbers.items()
