"""What people do to jobs and ask of them, and how the old ones go.

cancel_job, retry_job, lock_job; get_job, list_jobs, job_json; job_stats, jobs_heartbeat, due_jobs; record_job_run,
prune_job_runs, prune_jobs; backfill_jobs.
"""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import ACTOR, HOUR, TOMORROW, Factory
from tests.sql.jobs import (
    DAY,
    EXPIRED,
    LEASE,
    MINUTE,
    NOW,
    OUTCOMES,
    SECOND,
    attempts_of,
    claim,
    claim_one,
    enqueue,
    extend,
    heartbeat,
    job_status,
    leased,
    rescue,
    settle,
)
from tests.sql.support import NOBODY, TICK, at, call, call_json, call_value, cancel, jobs_of, one, refused

ENDED = [outcome for outcome, status in OUTCOMES.items() if status != "pending"]
LATER = NOW + MINUTE
WHO = "event, subject_id, performed_by_id, old_values, new_values"


async def cancel_job(conn: asyncpg.Connection, job_id: UUID, now: datetime = LATER) -> Any:
    return await call_json(conn, "cancel_job", p_actor=ACTOR, p_job_id=job_id, p_now=now)


async def retry_job(conn: asyncpg.Connection, job_id: UUID, now: datetime = LATER) -> Any:
    return await call_json(conn, "retry_job", p_actor=ACTOR, p_job_id=job_id, p_now=now)


async def get_job(conn: asyncpg.Connection, job_id: UUID) -> Any:
    return await call_json(conn, "get_job", p_job_id=job_id)


async def ended(conn: asyncpg.Connection, outcome: str, **overrides: Any) -> asyncpg.Record:
    """A job that has come to that end."""
    job = await leased(conn, **overrides)
    await settle(conn, job, outcome)
    return job


async def own_job(make: Factory, conn: asyncpg.Connection) -> UUID:
    """A job that the database does by itself."""
    await make.booking()
    return UUID(str(await conn.fetchval("SELECT id FROM jobs WHERE queue IS NULL")))


async def test_a_job_that_waits_is_cancelled(conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn)

    shown = await cancel_job(conn, job_id)

    assert (shown["status"], at(shown["processed_at"]), at(shown["cancel_requested_at"])) == ("cancelled", LATER, LATER)
    assert await claim(conn, now=LATER) == []


async def test_a_job_that_runs_is_asked_to_stop_and_is_still_held(conn: asyncpg.Connection) -> None:
    job = await leased(conn)

    shown = await cancel_job(conn, job["id"])

    assert (shown["status"], shown["processed_at"], shown["leased_by"]) == ("processing", None, "one")
    assert at(shown["cancel_requested_at"]) == LATER
    assert await extend(conn, job) == {job["id"]: True}


async def test_who_asks_again_changes_nothing_of_when_it_was_asked_first(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    await cancel_job(conn, job["id"])

    shown = await cancel_job(conn, job["id"], LATER + MINUTE)

    assert at(shown["cancel_requested_at"]) == LATER
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE subject_type = 'job'") == 1


@pytest.mark.parametrize("outcome", ENDED)
async def test_what_is_over_cannot_be_cancelled(conn: asyncpg.Connection, outcome: str) -> None:
    job = await ended(conn, outcome)

    with refused("SB007", "invalid_transition") as refusal:
        await cancel_job(conn, job["id"])

    assert refusal.detail == {
        "job_id": str(job["id"]),
        "job_type": "mail",
        "from": OUTCOMES[outcome],
        "to": "cancelled",
    }


async def test_what_was_cancelled_cannot_be_cancelled_again(conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn)
    await cancel_job(conn, job_id)

    with refused("SB007", "invalid_transition"):
        await cancel_job(conn, job_id)


@pytest.mark.parametrize("function", [cancel_job, retry_job])
async def test_what_the_database_does_by_itself_is_not_for_people_to_change(
    make: Factory, conn: asyncpg.Connection, function: Any
) -> None:
    job_id = await own_job(make, conn)
    if function is retry_job:
        await conn.execute("UPDATE bookings SET status = 'cancelled'")

    with refused("SB007", "invalid_transition"):
        await function(conn, job_id)


@pytest.mark.parametrize("function", [cancel_job, retry_job, get_job])
async def test_a_job_that_is_not_there_is_not_found(conn: asyncpg.Connection, function: Any) -> None:
    with refused("SB021", "job_not_found") as refusal:
        await function(conn, NOBODY)

    assert refusal.detail == {"job_id": str(NOBODY)}


async def test_lock_job_finds_the_row_or_says_so(conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn)

    assert await conn.fetchval("SELECT (lock_job($1)).id", job_id) == job_id
    with refused("SB021", "job_not_found"):
        await call(conn, "lock_job", p_job_id=NOBODY)


@pytest.mark.parametrize("outcome", ["permanent", "skipped"])
async def test_a_job_that_did_not_get_done_is_tried_once_more_at_once(conn: asyncpg.Connection, outcome: str) -> None:
    job = await ended(conn, outcome, p_max_attempts=1)

    shown = await retry_job(conn, job["id"])

    assert (shown["status"], at(shown["run_at"]), at(shown["scheduled_at"])) == ("pending", LATER, NOW)
    assert (shown["attempt"], shown["max_attempts"], shown["processed_at"]) == (1, 2, None)
    again = await claim_one(conn, now=LATER)
    assert (again["id"], again["attempt"], again["lease_token"]) == (job["id"], 2, 2)
    await settle(conn, again, "failed", now=LATER)
    assert await job_status(conn, job["id"]) == "discarded"
    assert await attempts_of(conn, job["id"]) == [(1, 1, outcome), (2, 2, "failed")]


async def test_attempts_that_were_left_are_left_still(conn: asyncpg.Connection) -> None:
    job = await ended(conn, "permanent", p_max_attempts=4)

    shown = await retry_job(conn, job["id"])

    assert (shown["attempt"], shown["max_attempts"]) == (1, 4)


async def test_a_cancelled_job_that_is_retried_is_not_to_be_cancelled_any_more(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    await cancel_job(conn, job["id"])
    await settle(conn, job, "failed")

    assert (await retry_job(conn, job["id"]))["cancel_requested_at"] is None

    again = await claim_one(conn, now=LATER)
    assert await settle(conn, again, "failed", now=LATER) == "ok"
    assert await job_status(conn, job["id"]) == "pending"


@pytest.mark.parametrize("status", ["pending", "processing", "processed"])
async def test_what_waits_runs_or_got_done_is_not_retried(conn: asyncpg.Connection, status: str) -> None:
    job_id = await enqueue(conn)
    if status != "pending":
        job = await claim_one(conn)
        if status == "processed":
            await settle(conn, job, status)

    with refused("SB007", "invalid_transition") as refusal:
        await retry_job(conn, job_id)

    assert refusal.detail == {"job_id": str(job_id), "job_type": "mail", "from": status, "to": "pending"}


async def test_a_job_whose_key_waits_again_is_not_retried(conn: asyncpg.Connection) -> None:
    job = await ended(conn, "permanent", p_dedupe_key="ann")
    await enqueue(conn, p_dedupe_key="ann")

    with refused("SB007", "invalid_transition"):
        await retry_job(conn, job["id"])


async def test_what_a_person_does_to_a_job_is_on_record_without_what_it_holds(conn: asyncpg.Connection) -> None:
    waits = await enqueue(conn, p_payload='{"email": "ann@example.org"}', p_run_at=NOW + DAY)
    runs = await leased(conn, p_payload='{"email": "ann@example.org"}')
    failed = await ended(conn, "permanent")
    await cancel_job(conn, waits)
    await cancel_job(conn, runs["id"])
    await retry_job(conn, failed["id"])

    trail = await conn.fetch(f"SELECT {WHO} FROM audit_log ORDER BY id")

    assert [tuple(row)[:3] for row in trail] == [
        ("job.cancelled", str(waits), "tester"),
        ("job.modified", str(runs["id"]), "tester"),
        ("job.pending", str(failed["id"]), "tester"),
    ]
    for row in trail:
        for values in (json.loads(row["old_values"]), json.loads(row["new_values"])):
            assert {"payload", "result", "error_message"} & values.keys() == set()


async def test_what_becomes_of_a_job_by_itself_is_not_on_that_record(conn: asyncpg.Connection) -> None:
    for outcome in OUTCOMES:
        await settle(conn, await leased(conn, p_queue=outcome), outcome)
    await leased(conn)
    await rescue(conn)

    assert await conn.fetchval("SELECT count(*) FROM audit_log") == 0


SHOWN = {
    "id", "job_type", "queue", "dedupe_key", "booking_id", "status", "priority", "scheduled_at", "run_at", "attempt",
    "max_attempts", "leased_by", "leased_until", "cancel_requested_at", "error_message", "result", "processed_at",
    "created_at", "updated_at",
}  # fmt: skip


async def test_a_job_is_shown_with_all_but_its_payload(conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn, p_payload='{"email": "ann@example.org"}', p_dedupe_key="ann", p_priority=2)

    shown = json.loads(await conn.fetchval("SELECT job_json(j) FROM jobs j"))

    assert shown.keys() == SHOWN
    assert (shown["id"], shown["dedupe_key"], shown["priority"]) == (str(job_id), "ann", 2)
    assert "example.org" not in json.dumps([shown, await get_job(conn, job_id)])


async def test_a_job_is_shown_with_its_holder_while_there_is_one(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    held = await get_job(conn, job["id"])
    await settle(conn, job, "processed", result={"sent": 1})
    done = await get_job(conn, job["id"])

    assert (held["leased_by"], at(held["leased_until"])) == ("one", NOW + LEASE)
    assert (done["leased_by"], done["leased_until"], done["result"]) == (None, None, {"sent": 1})


async def test_a_job_is_shown_with_each_of_its_attempts_the_oldest_first(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    await settle(conn, job, "snoozed", run_at=str(NOW), now=NOW + SECOND)
    await settle(conn, await claim_one(conn, now=LATER), "failed", now=LATER, error_message="down")

    shown = await get_job(conn, job["id"])

    assert shown.keys() == SHOWN | {"attempts"}
    first, second = shown["attempts"]
    assert (first["attempt"], first["outcome"], first["error_message"]) == (1, "snoozed", None)
    assert (second["attempt"], second["outcome"], second["error_message"]) == (1, "failed", "down")
    assert (first["instance_id"], at(first["started_at"]), at(first["ended_at"])) == ("one", NOW, NOW + SECOND)


async def list_jobs(conn: asyncpg.Connection, **filters: Any) -> list[str]:
    """The ids on one page."""
    return [job["id"] for job in (await call_json(conn, "list_jobs", **filters))["items"]]


async def test_jobs_are_listed_in_order_of_creation_page_by_page(conn: asyncpg.Connection) -> None:
    ids = [str(await enqueue(conn, p_now=NOW + n * SECOND, p_run_at=NOW + (9 - n) * SECOND)) for n in range(5)]

    pages, cursor = [], None
    while True:
        page = await call_json(conn, "list_jobs", p_limit=2, p_cursor=cursor)
        pages.append([job["id"] for job in page["items"]])
        if (cursor := page["next_cursor"]) is None:
            break

    assert pages == [ids[:2], ids[2:4], ids[4:]]


async def test_jobs_made_at_one_instant_are_each_listed_once(conn: asyncpg.Connection) -> None:
    ids = {str(await enqueue(conn)) for _ in range(4)}

    first = await call_json(conn, "list_jobs", p_limit=2)
    second = await call_json(conn, "list_jobs", p_limit=2, p_cursor=first["next_cursor"])

    assert {job["id"] for page in (first, second) for job in page["items"]} == ids
    assert second["next_cursor"] is None


async def test_jobs_are_listed_by_every_filter_alone_and_together(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    own = await conn.fetchval("SELECT id::text FROM jobs")
    mail = str(await enqueue(conn, "mail", p_queue="mails", p_booking_id=booking_id))
    bill = str(await enqueue(conn, "bill"))
    done = str((await ended(conn, "processed", p_queue="other"))["id"])

    assert await list_jobs(conn, p_status="processed") == [done]
    assert await list_jobs(conn, p_job_type="bill") == [bill]
    assert await list_jobs(conn, p_queue="mails") == [mail]
    assert set(await list_jobs(conn, p_booking_id=booking_id)) == {own, mail}
    assert await list_jobs(conn, p_booking_id=booking_id, p_job_type="mail", p_status="pending") == [mail]
    assert await list_jobs(conn, p_booking_id=booking_id, p_status="processed") == []
    assert len(await list_jobs(conn)) == 4


async def stats(conn: asyncpg.Connection, now: datetime = NOW) -> Any:
    return await call_json(conn, "job_stats", p_now=now)


async def test_of_nothing_there_is_nothing_to_tell(conn: asyncpg.Connection) -> None:
    assert await stats(conn) == {
        "counts": [],
        "due": 0,
        "oldest_due_age_ms": 0,
        "stuck": 0,
        "lateness_ms": {"p50": None, "p95": None, "p99": None, "jobs": 0},
        "queues": [],
        "callers": [],
    }
    assert await heartbeat(conn) == (0, 0, None)


async def test_jobs_are_counted_by_type_and_status(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()
    for _ in range(2):
        await ended(conn, "processed")
    await ended(conn, "permanent")
    await enqueue(conn, "bill")

    told = {(count["job_type"], count["status"]): count["count"] for count in (await stats(conn))["counts"]}

    assert told == {
        ("bill", "pending"): 1,
        ("complete_booking", "pending"): 1,
        ("mail", "discarded"): 1,
        ("mail", "processed"): 2,
    }


async def test_what_is_due_and_what_is_stuck(conn: asyncpg.Connection) -> None:
    await leased(conn)
    await enqueue(conn, p_run_at=NOW + SECOND)
    await enqueue(conn, p_run_at=NOW + HOUR)

    at_once, later = await stats(conn), await stats(conn, EXPIRED)

    assert (at_once["due"], at_once["oldest_due_age_ms"], at_once["stuck"]) == (0, 0, 0)
    assert (later["due"], later["oldest_due_age_ms"], later["stuck"]) == (1, 30_000, 1)


async def test_how_late_jobs_start_is_told_of_first_attempts_of_the_last_hour(conn: asyncpg.Connection) -> None:
    for seconds in (1, 2, 3):
        await enqueue(conn, p_run_at=NOW - seconds * SECOND)
    for job in await claim(conn):
        await settle(conn, job, "processed", now=LATER)
    # neither what was put off by a failure nor what did not get done counts
    again = await leased(conn, p_run_at=NOW - HOUR)
    await settle(conn, again, "failed")
    await settle(conn, await claim_one(conn, now=LATER), "processed", now=LATER)
    await ended(conn, "permanent", p_run_at=NOW - HOUR)

    assert (await stats(conn, LATER))["lateness_ms"] == {"p50": 2000, "p95": 2900, "p99": 2980, "jobs": 3}
    assert (await stats(conn, LATER + HOUR))["lateness_ms"]["jobs"] == 0


async def test_every_queue_that_is_set_waits_or_runs_is_told_of(conn: asyncpg.Connection) -> None:
    await call(conn, "put_queue", p_actor=ACTOR, p_queue="limited", p_max_running=5, p_stagger_ms=50)
    await enqueue(conn, p_queue="waiting", p_run_at=NOW + HOUR)
    await leased(conn, p_queue="running")
    await ended(conn, "processed", p_queue="over")

    queues = {queue["name"]: (queue["due"], queue["running"]) for queue in (await stats(conn))["queues"]}

    assert queues == {"limited": (0, 0), "running": (0, 1), "waiting": (0, 0)}


async def record(
    conn: asyncpg.Connection,
    instance: str,
    now: datetime,
    *,
    caller: str = "cron",
    is_over: bool = False,
    **report: Any,
) -> None:
    await call(
        conn,
        "record_job_run",
        p_instance_id=instance,
        p_caller=caller,
        p_report=json.dumps(report),
        p_is_over=is_over,
        p_now=now,
    )


async def test_a_run_is_on_record_from_its_beginning_to_its_end(conn: asyncpg.Connection) -> None:
    await record(conn, "one", NOW, claimed=0)
    begun = await one(conn, "SELECT caller, report, started_at, seen_at, ended_at FROM job_runs")
    await record(conn, "one", LATER, is_over=True, claimed=7)
    over = await one(conn, "SELECT caller, report, started_at, seen_at, ended_at FROM job_runs")

    assert begun == ("cron", '{"claimed": 0}', NOW, NOW, None)
    assert over == ("cron", '{"claimed": 7}', NOW, LATER, LATER)


async def test_who_came_when_is_told_of_each_caller(conn: asyncpg.Connection) -> None:
    await record(conn, "one", NOW, is_over=True)
    await record(conn, "two", LATER)
    await record(conn, "three", NOW, caller="worker")

    callers = (await stats(conn))["callers"]

    assert [(c["caller"], at(c["last_seen_at"]), c["runs"], c["open"]) for c in callers] == [
        ("cron", LATER, 2, 1),
        ("worker", NOW, 1, 1),
    ]


async def test_the_heartbeat_tells_what_waits_and_when_somebody_last_came(conn: asyncpg.Connection) -> None:
    await enqueue(conn, p_run_at=NOW)
    await record(conn, "one", NOW - HOUR)
    await record(conn, "two", NOW - 3 * SECOND)

    assert await heartbeat(conn, LATER) == (1, 60_000, 63_000)


async def test_due_jobs_counts_those_of_every_queue_and_priority_beside_its_own(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await make.booking(await make.slot(starts_at=NOW - HOUR), p_now=NOW - DAY)
    for priority in range(4):
        await enqueue(conn, p_priority=priority, p_queue=f"queue {priority}", p_run_at=NOW - priority * MINUTE)
    await enqueue(conn, p_run_at=NOW + TICK)
    await leased(conn, p_queue="running")

    assert [tuple(row) for row in await call(conn, "due_jobs", p_now=NOW)] == [(5, 180_000)]


async def prune(conn: asyncpg.Connection, now: datetime, **overrides: Any) -> int:
    return int(await call_value(conn, "prune_jobs", **({"p_limit": 500, "p_now": now} | overrides)))


@pytest.mark.parametrize(("outcome", "days"), [("processed", 3), ("skipped", 3), ("permanent", 30)])
async def test_a_job_that_is_over_is_forgotten_in_time_with_its_attempts(
    conn: asyncpg.Connection, outcome: str, days: int
) -> None:
    job = await ended(conn, outcome)

    assert await prune(conn, NOW + days * DAY) == 0
    assert await prune(conn, NOW + days * DAY + TICK) == 1

    assert await attempts_of(conn, job["id"]) == []
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 0


async def test_a_cancelled_job_is_forgotten_as_one_that_got_done(conn: asyncpg.Connection) -> None:
    await cancel_job(conn, await enqueue(conn), NOW)

    assert await prune(conn, NOW + 3 * DAY + TICK) == 1


async def test_what_is_still_to_be_done_is_never_forgotten(conn: asyncpg.Connection) -> None:
    await leased(conn)
    job = await leased(conn)
    await settle(conn, job, "failed")
    await enqueue(conn)

    assert await prune(conn, NOW + 1000 * DAY) == 0
    assert await attempts_of(conn, job["id"]) == [(1, 1, "failed")]


async def test_a_caller_may_keep_jobs_for_another_while(conn: asyncpg.Connection) -> None:
    for outcome in ("processed", "permanent"):
        await ended(conn, outcome)
    keep: dict[str, Any] = {"p_keep": MINUTE, "p_keep_discarded": HOUR}

    assert await prune(conn, NOW + 2 * MINUTE, **keep) == 1
    assert await prune(conn, NOW + 2 * HOUR, **keep) == 1


async def test_no_more_jobs_are_forgotten_than_asked_for(conn: asyncpg.Connection) -> None:
    for _ in range(5):
        await ended(conn, "processed")

    assert [await prune(conn, NOW + 9 * DAY, p_limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_runs_are_forgotten_when_nobody_has_heard_of_them_for_three_days(conn: asyncpg.Connection) -> None:
    for n, seen_at in enumerate((NOW, NOW, NOW, NOW + DAY)):
        await record(conn, str(n), NOW)
        await record(conn, str(n), seen_at, is_over=n == 0)

    async def prune_runs(now: datetime, **overrides: Any) -> int:
        return int(await call_value(conn, "prune_job_runs", **({"p_limit": 2, "p_now": now} | overrides)))

    assert await prune_runs(NOW + 3 * DAY) == 0
    assert [await prune_runs(NOW + 3 * DAY + TICK) for _ in range(3)] == [2, 1, 0]
    assert await prune_runs(NOW + DAY + HOUR, p_keep=timedelta(minutes=1)) == 1


async def backfill(conn: asyncpg.Connection, limit: int = 500, **overrides: Any) -> int:
    return int(await call_value(conn, "backfill_jobs", p_limit=limit, **({"p_now": TOMORROW} | overrides)))


async def take_jobs_away(conn: asyncpg.Connection) -> None:
    """What a repair that went wrong might do, around all guards."""
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute("DELETE FROM jobs")


async def test_bookings_whose_job_is_gone_get_one(make: Factory, conn: asyncpg.Connection) -> None:
    confirmed = await make.booking(await make.slot(starts_at=TOMORROW))
    held = await make.booking(p_payment_method="pay_now")
    over = await make.booking()
    await cancel(conn, over)
    before = await conn.fetch("SELECT booking_id, job_type, run_at FROM jobs WHERE status = 'pending' ORDER BY 1")
    await take_jobs_away(conn)

    assert await backfill(conn) == 2

    assert await jobs_of(conn, confirmed) == {"complete_booking": "pending"}
    assert await jobs_of(conn, held) == {"expire_booking": "pending"}
    assert await jobs_of(conn, over) == {}
    after = await conn.fetch("SELECT booking_id, job_type, run_at FROM jobs ORDER BY 1")
    assert after == before
    assert await call_json(conn, "check_invariants") | {"checked": None} == {
        "checked": None,
        "violation_count": 0,
        "violations": [],
    }


async def test_bookings_that_have_their_job_keep_it(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()
    before = await conn.fetch("SELECT * FROM jobs")

    assert await backfill(conn) == 0
    assert await conn.fetch("SELECT * FROM jobs") == before


async def test_no_more_jobs_are_made_than_asked_for(make: Factory, conn: asyncpg.Connection) -> None:
    for _ in range(5):
        await make.booking()
    await take_jobs_away(conn)

    assert [await backfill(conn, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_bookings_are_looked_at_no_more_often_than_the_caller_wants(
    make: Factory, conn: asyncpg.Connection
) -> None:
    hourly: dict[str, Any] = {"p_every": HOUR}
    assert await backfill(conn, **hourly) == 0
    await make.booking()
    await take_jobs_away(conn)

    assert await backfill(conn, p_now=TOMORROW + HOUR - TICK, **hourly) == 0
    assert await backfill(conn, p_now=TOMORROW + HOUR, **hourly) == 1


async def test_bookings_are_looked_at_again_at_once_while_some_are_left(
    make: Factory, conn: asyncpg.Connection
) -> None:
    for _ in range(3):
        await make.booking()
    await take_jobs_away(conn)

    assert [await backfill(conn, 2, p_every=HOUR) for _ in range(3)] == [2, 1, 0]
