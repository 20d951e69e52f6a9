"""A runner claims, runs and settles: what each outcome of a handler comes to, and what holds while handlers run."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import asyncpg
import pytest
from structlog.typing import EventDict

from app.database import Database, open_database
from app.handlers import FollowUp, Job, Ok, Outcome, Permanent, Retry, Settled, Skip, Snooze
from app.jobs import runner as runner_module
from app.settings import Settings
from tests.concurrency.rivals import begin, until_waiting
from tests.conftest import Connect
from tests.jobs.support import (
    EFFECTS,
    Gate,
    answers,
    attempts_of,
    do_all,
    effects,
    enqueue,
    enqueue_many,
    handler,
    hangs,
    job_row,
    lose_leases,
    raises,
    runner_of,
    statuses,
)

LATER = datetime(2040, 1, 1, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)

# what a handler answers, and the status, attempts used, recorded outcome and count that come of it
OUTCOMES: dict[str, tuple[Outcome, tuple[str, int, str, str]]] = {
    "ok": (Ok(), ("processed", 1, "processed", "processed")),
    "retry": (Retry("busy"), ("pending", 1, "failed", "retried")),
    "permanent": (Permanent("no such address"), ("discarded", 1, "permanent", "discarded")),
    "skip": (Skip("cancelled meanwhile"), ("skipped", 1, "skipped", "skipped")),
    "snooze": (Snooze(LATER), ("pending", 0, "snoozed", "released")),
}


@pytest.mark.parametrize("name", OUTCOMES)
async def test_an_outcome_settles_its_job(database: Database, conn: asyncpg.Connection, name: str) -> None:
    outcome, (status, attempt, recorded, counted) = OUTCOMES[name]
    job_id = await enqueue(conn)
    runner = runner_of(database, answers(outcome))

    await do_all(runner)

    job = await job_row(conn, job_id)
    assert (job["status"], job["attempt"], await attempts_of(conn, job_id)) == (status, attempt, [recorded])
    assert runner.tally == {"claimed": 1, counted: 1}


async def test_a_handler_gets_the_job_as_it_is_stored(database: Database, conn: asyncpg.Connection) -> None:
    got: list[Job] = []

    async def run(job: Job) -> Outcome:
        got.append(job)
        return Ok()

    job_id = await enqueue(conn, payload={"to": ["ann"]}, p_max_attempts=7)
    await do_all(runner_of(database, handler(run)))

    (job,) = got
    stored = await job_row(conn, job_id)
    assert (job.id, job.job_type, job.payload, job.attempt, job.max_attempts) == (job_id, "work", {"to": ["ann"]}, 1, 7)
    assert (job.lease_token, job.booking_id, job.scheduled_at) == (1, None, stored["scheduled_at"])


async def test_what_is_claimed_ahead_has_its_room_and_comes_in_order(
    database: Database, conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "CLAIM_BATCH", 4)
    gate = Gate()
    await enqueue_many(conn, 20)
    runner = runner_of(database, handler(gate), concurrency=10)

    begun = [await runner.fill() for _ in range(4)]

    assert (begun, runner.room) == ([4, 4, 2, 0], 0)
    assert await statuses(conn) == {"processing": 10, "pending": 10}
    due = await conn.fetch("SELECT id FROM jobs ORDER BY run_at, seq LIMIT 10")
    assert [held.job.id for held in runner.held.values()] == [row["id"] for row in due]
    gate.open.set()


async def test_what_was_claimed_ahead_is_given_back_by_who_stops(
    database: Database, conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "CLAIM_BATCH", 4)
    gate = Gate(outcome=Ok())
    await enqueue_many(conn, 20)
    runner = runner_of(database, handler(gate), concurrency=10)
    await runner.fill()

    gate.open.set()
    await runner.stop(5, 1)
    while await runner.settle():
        pass

    assert runner.tally == {"claimed": 8, "processed": 4, "released": 4}
    assert await statuses(conn) == {"processed": 4, "pending": 16}
    assert await conn.fetchval("SELECT sum(attempt) FROM jobs") == 4


async def test_a_result_stands_beside_its_job(database: Database, conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn)

    await do_all(runner_of(database, answers(Ok({"sent": LATER, "to": ["ann"]}))))

    assert (await job_row(conn, job_id))["result"] == '{"to": ["ann"], "sent": "2040-01-01T09:00:00Z"}'


async def test_what_follows_is_enqueued_as_its_handler_said(database: Database, conn: asyncpg.Connection) -> None:
    follow_up = FollowUp("next", {"n": 1}, LATER, "once", "mail", 3, 9)
    await enqueue(conn)

    await do_all(runner_of(database, answers(Ok(follow_ups=(follow_up, FollowUp("last"))))))

    (following,) = await conn.fetch("SELECT * FROM jobs WHERE job_type = 'next'")
    assert (following["payload"], following["run_at"], following["dedupe_key"]) == ('{"n": 1}', LATER, "once")
    assert (following["queue"], following["priority"], following["max_attempts"]) == ("mail", 3, 9)
    assert await statuses(conn, "last") == {"pending": 1}


async def test_nothing_follows_from_a_job_that_somebody_else_has_by_now(
    database: Database, conn: asyncpg.Connection
) -> None:
    gate = Gate(outcome=Ok(follow_ups=(FollowUp("next"),)))
    job_id = await enqueue(conn)
    runner = runner_of(database, handler(gate))
    await runner.fill()
    await lose_leases(conn)

    gate.open.set()
    await runner.something_finished(5)
    await runner.settle()

    assert runner.tally["stale"] == 1
    assert (await job_row(conn, job_id))["status"] == "pending"
    assert await statuses(conn, "next") == {}


async def test_a_handler_that_settled_its_job_itself_is_counted_and_settled_once(
    database: Database, conn: asyncpg.Connection
) -> None:
    await conn.execute(EFFECTS)
    job_id = await enqueue(conn, "effect")
    runner = runner_of(database, effects(database))

    await do_all(runner)

    assert await conn.fetchval("SELECT array_agg(job_id) FROM effects") == [job_id]
    assert await attempts_of(conn, job_id) == ["processed"]
    assert runner.tally == {"claimed": 1, "processed": 1}


async def test_an_effect_of_a_lease_that_is_lost_is_undone(database: Database, conn: asyncpg.Connection) -> None:
    await conn.execute(EFFECTS)
    gate = Gate()
    job_id = await enqueue(conn, "effect")
    do_effect = effects(database)

    async def run(job: Job) -> Outcome:
        await gate(job)
        return await do_effect.run(job)

    runner = runner_of(database, handler(run, "effect"))
    await runner.fill()
    await gate.until_begun(1)
    await lose_leases(conn)
    gate.open.set()
    await runner.something_finished(5)
    await runner.settle()

    assert await conn.fetchval("SELECT count(*) FROM effects") == 0
    assert await attempts_of(conn, job_id) == ["lease_expired"]
    assert runner.tally["stale"] == 1


async def test_a_retry_comes_no_sooner_than_asked_for(database: Database, conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn)

    await do_all(runner_of(database, answers(Retry("slow down", HOUR))))

    wait = await conn.fetchval("SELECT run_at - attempted_at FROM jobs WHERE id = $1", job_id)
    assert HOUR <= wait < HOUR + timedelta(minutes=1)


async def test_a_retry_that_is_the_last_attempt_discards_the_job(database: Database, conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn, p_max_attempts=1)
    runner = runner_of(database, answers(Retry("busy")))

    await do_all(runner)

    assert (await job_row(conn, job_id))["status"] == "discarded"
    assert runner.tally == {"claimed": 1, "discarded": 1}


async def test_a_snoozed_job_comes_at_that_time(database: Database, conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn)

    await do_all(runner_of(database, answers(Snooze(LATER))))

    assert (await job_row(conn, job_id))["run_at"] == LATER


async def test_of_an_exception_its_kind_is_kept_and_never_its_words(
    database: Database, conn: asyncpg.Connection
) -> None:
    job_id = await enqueue(conn)

    await do_all(runner_of(database, raises(ValueError("the secret of ann@example.com"))))

    job = await job_row(conn, job_id)
    assert (job["status"], job["error_message"]) == ("pending", "ValueError")
    assert await conn.fetchval("SELECT array_agg(error_message) FROM job_attempts") == ["ValueError"]


async def test_neither_a_payload_nor_the_words_of_an_exception_are_logged(
    database: Database, conn: asyncpg.Connection, logged: list[EventDict]
) -> None:
    job_id = await enqueue(conn, payload={"to": "ann@example.com"})

    await do_all(runner_of(database, raises(ValueError("the secret of ann@example.com"))))

    assert [(entry["event"], entry["job_id"], entry["error"]) for entry in logged] == [
        ("a job failed", str(job_id), "ValueError")
    ]
    assert "ann@example.com" not in str(logged)


async def test_of_a_long_error_two_thousand_characters_are_kept(database: Database, conn: asyncpg.Connection) -> None:
    outcomes: dict[str, Outcome] = {
        "retried": Retry("é" * 5000),
        "discarded": Permanent("é" * 5000),
        "skipped": Skip("é" * 5000),
    }
    for job_type in outcomes:
        await enqueue(conn, job_type)

    await do_all(runner_of(database, *(answers(outcome, job_type) for job_type, outcome in outcomes.items())))

    assert [row[0] for row in await conn.fetch("SELECT length(error_message) FROM jobs")] == [2000] * 3
    assert [row[0] for row in await conn.fetch("SELECT length(error_message) FROM job_attempts")] == [2000] * 3


async def test_a_handler_that_does_not_answer_in_time_is_cancelled_and_tried_again(
    database: Database, conn: asyncpg.Connection
) -> None:
    gate = Gate()
    job_id = await enqueue(conn)

    await do_all(runner_of(database, handler(gate, limit=0.05)))

    job = await job_row(conn, job_id)
    assert gate.cancelled == {job_id: 1}
    assert (job["status"], job["attempt"], job["error_message"]) == ("pending", 1, "no answer within 0.1 s")


async def test_a_job_that_nobody_here_knows_is_left_for_others_and_was_no_attempt(
    database: Database, conn: asyncpg.Connection
) -> None:
    job_id = await enqueue(conn, "of_a_newer_version")
    runner = runner_of(database, answers(Ok()))

    await do_all(runner)

    job = await job_row(conn, job_id)
    assert (job["status"], job["attempt"], await attempts_of(conn, job_id)) == ("pending", 0, ["snoozed"])
    assert timedelta(seconds=30) < job["run_at"] - job["attempted_at"] < timedelta(minutes=2)
    assert runner.tally == {"claimed": 1, "released": 1}


# what a handler may answer though it cannot be stored
UNSTORABLE: dict[str, Any] = {
    "no JSON": Ok({"value": object()}),
    "a number JSON does not have": Ok({"value": float("nan")}),
    "a character Postgres does not have": Ok({"value": "\0"}),
    "an error of such characters": Retry("\0"),
    "half a character": Retry("\ud800"),
    "a follow-up that may not be": Ok(follow_ups=(FollowUp("next", priority=9),)),
    "nothing at all": None,
}


@pytest.mark.parametrize("name", UNSTORABLE)
async def test_an_outcome_that_cannot_be_stored_fails_its_own_job_and_no_other(
    database: Database, conn: asyncpg.Connection, name: str
) -> None:
    bad = await enqueue(conn, "bad")
    good = await enqueue(conn)

    await do_all(runner_of(database, answers(cast("Outcome", UNSTORABLE[name]), "bad"), answers(Ok())))

    assert (await job_row(conn, good))["status"] == "processed"
    assert (await job_row(conn, bad))["status"] in ("pending", "discarded")


async def test_a_job_whose_code_may_still_run_keeps_its_lease(database: Database, conn: asyncpg.Connection) -> None:
    gate = Gate(is_deaf=True)
    job_id = await enqueue(conn)
    runner = runner_of(database, handler(gate, limit=0.05))
    await runner.fill()

    await runner.something_finished(0.1)
    await runner.stop(0, 0.05)
    await runner.settle()

    # its time was over, then the run's: it heard neither
    assert gate.cancelled[job_id] == 2
    assert (await job_row(conn, job_id))["status"] == "processing"
    assert await conn.fetchval("SELECT rescue_jobs(50)") == 0
    other = runner_of(database, handler(gate))
    assert await other.fill() == 0
    assert await lose_leases(conn) == 1
    assert await other.fill() == 1
    gate.open.set()
    await asyncio.gather(do_all(runner), do_all(other))
    assert (runner.tally["stale"], other.tally["processed"]) == (1, 1)


async def test_a_job_that_comes_back_to_the_runner_that_lost_it_is_done_once_more_and_settled_once(
    database: Database, conn: asyncpg.Connection
) -> None:
    gate = Gate()
    job_id = await enqueue(conn)
    runner = runner_of(database, handler(gate))
    await runner.fill()
    await gate.until_begun(1)
    await lose_leases(conn)
    await runner.fill()
    await gate.until_begun(2)

    gate.open.set()
    await do_all(runner)

    assert await attempts_of(conn, job_id) == ["lease_expired", "processed"]
    assert runner.tally == {"claimed": 2, "stale": 1, "processed": 1}


async def test_a_late_failure_does_not_undo_what_its_successor_did(
    database: Database, conn: asyncpg.Connection
) -> None:
    outcomes: list[Outcome] = [Ok(), Retry("late")]
    gate = Gate()

    async def run(job: Job) -> Outcome:
        await gate(job)
        return outcomes[job.attempt % 2]

    job_id = await enqueue(conn)
    runner = runner_of(database, handler(run))
    await runner.fill()
    await gate.until_begun(1)
    await lose_leases(conn)
    await runner.fill()
    await gate.until_begun(2)
    gate.open.set()
    await do_all(runner)

    assert (await job_row(conn, job_id))["status"] == "processed"
    assert runner.tally == {"claimed": 2, "stale": 1, "processed": 1}


async def test_no_transaction_is_open_and_no_connection_held_while_handlers_run(
    settings: Settings, conn: asyncpg.Connection
) -> None:
    gate = Gate()
    await enqueue_many(conn, 20)
    async with open_database(settings.model_copy(update={"db_pool_size": 2})) as database:
        runner = runner_of(database, handler(gate), concurrency=20)
        await runner.fill()
        # all twenty at once, on two connections
        await gate.until_begun(20)
        ours = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'holdfast'"
        assert await conn.fetchval(f"SELECT count(*) {ours}") in (1, 2)
        assert await conn.fetchval(f"SELECT count(*) {ours} AND xact_start IS NOT NULL") == 0
        locks = "FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'holdfast'"
        assert await conn.fetchval(f"SELECT count(*) {locks} AND a.datname = current_database()") == 0
        # and both connections serve others
        await asyncio.gather(*(database.call_value("due_jobs") for _ in range(4)))
        gate.open.set()
        await do_all(runner)

    assert await statuses(conn) == {"processed": 20}


async def test_a_slow_job_does_not_keep_the_places_beside_it_empty(
    database: Database, conn: asyncpg.Connection
) -> None:
    done, all_done = 0, asyncio.Event()

    async def short(_job: Job) -> Outcome:
        nonlocal done
        done += 1
        if done == 40:
            all_done.set()
        return Ok()

    async def long(_job: Job) -> Outcome:
        await all_done.wait()
        return Ok()

    slow = await enqueue(conn, "long")
    await enqueue_many(conn, 40)

    # were a batch waited for, the slow one would wait for jobs that wait for it
    await do_all(runner_of(database, handler(long, "long", limit=10), handler(short), concurrency=4))

    assert (await job_row(conn, slow))["status"] == "processed"
    assert await statuses(conn) == {"processed": 40}


async def test_no_more_run_at_once_than_may(database: Database, conn: asyncpg.Connection) -> None:
    gate = Gate()
    await enqueue_many(conn, 8)
    runner = runner_of(database, handler(gate), concurrency=3)

    assert [await runner.fill(), await runner.fill()] == [3, 0]

    gate.open.set()
    await do_all(runner)
    assert gate.begun.total() == 8


async def test_what_the_database_would_not_settle_is_settled_later(
    database: Database, conn: asyncpg.Connection, connect: Connect
) -> None:
    observer = await connect()
    job_id = await enqueue(conn)
    runner = runner_of(database, answers(Ok()))
    await runner.fill()
    await runner.something_finished(5)

    async with conn.transaction():
        await conn.execute("SELECT FROM jobs FOR UPDATE")
        (settling,) = begin([runner.settle()])
        await until_waiting(observer, 1)
        await observer.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'holdfast'"""
        )
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await settling

    assert [job.id for job in runner.leased] == [job_id]
    await runner.settle()
    assert (await job_row(conn, job_id))["status"] == "processed"
    assert runner.tally == {"claimed": 1, "processed": 1}


PUT_QUEUE = """SELECT put_queue('{"type": "admin", "id": "t"}', $1, NULL, 0)"""


async def test_a_family_of_queues_is_all_that_somebody_has_set_of_that_name(
    database: Database, conn: asyncpg.Connection
) -> None:
    for name in ("gym:b", "gym:a", "gymnasium"):
        await conn.execute(PUT_QUEUE, name)
    gate = Gate()
    gate.open.set()
    taken = [await enqueue(conn, p_queue=name) for name in ("gym:a", "gym:b")]
    # of another name, and one that nobody has set
    left = [await enqueue(conn, p_queue=name) for name in ("gymnasium", "gym:c")]
    runner = runner_of(database, handler(gate, queue="gym:*"))
    assert runner.queues == []
    await runner.read_queues()

    await do_all(runner)

    assert sorted(runner.queues) == ["gym:a", "gym:b"]
    assert gate.begun == dict.fromkeys(taken, 1)
    assert [(await job_row(conn, job_id))["status"] for job_id in left] == ["pending", "pending"]


async def test_of_two_handlers_of_a_family_each_does_the_jobs_of_its_own_type(
    database: Database, conn: asyncpg.Connection
) -> None:
    await conn.execute(PUT_QUEUE, "gym:a")
    await enqueue(conn, "book", p_queue="gym:a")
    await enqueue(conn, "check", p_queue="gym:a")
    runner = runner_of(
        database,
        answers(Ok({"by": "book"}), "book", queue="gym:*"),
        answers(Ok({"by": "check"}), "check", queue="gym:*"),
    )
    await runner.read_queues()

    await do_all(runner)

    results = await conn.fetch("SELECT job_type, result ->> 'by' FROM jobs ORDER BY job_type")
    assert [tuple(row) for row in results] == [("book", "book"), ("check", "check")]


async def test_a_queue_that_is_set_later_is_learned_of_and_one_that_is_known_stays(
    database: Database, conn: asyncpg.Connection
) -> None:
    await conn.execute(PUT_QUEUE, "gym:a")
    runner = runner_of(database, answers(Ok(), queue="gym:*"), answers(Ok(), "mail"))
    await runner.read_queues()
    await conn.execute(PUT_QUEUE, "gym:b")

    assert sorted(runner.queues) == ["default", "gym:a"]
    await runner.read_queues()
    assert sorted(runner.queues) == ["default", "gym:a", "gym:b"]


async def test_a_stopped_runner_gives_back_what_it_has_not_begun(database: Database, conn: asyncpg.Connection) -> None:
    await conn.execute("""SELECT put_queue('{"type": "admin", "id": "t"}', 'default', NULL, 60000)""")
    first, *others = await enqueue_many(conn, 3)
    runner = runner_of(database, hangs())
    await runner.read_queues()
    assert await runner.fill() == 3

    await runner.something_finished(0)
    await runner.stop(0, 1)
    await runner.settle()

    assert await attempts_of(conn, first) == ["budget"]
    for job_id in others:
        assert ((await job_row(conn, job_id))["attempt"], await attempts_of(conn, job_id)) == (0, ["released"])
    assert runner.tally == {"claimed": 3, "retried": 1, "released": 2}


async def test_a_settled_outcome_without_a_settlement_is_the_handlers_own_word(
    database: Database, conn: asyncpg.Connection
) -> None:
    job_id = await enqueue(conn)

    await do_all(runner_of(database, answers(Settled())))

    # it lied: the lease runs out, and the job is tried again
    assert (await job_row(conn, job_id))["status"] == "processing"
    assert await lose_leases(conn) == 1
