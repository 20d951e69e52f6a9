"""put_queue, pause_queue, resume_queue, queue_json; and queue_room, which claims heed.

Beside them what a worker asks: queue_staggers, pending_queues, next_job_due_in.
"""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.factories import ACTOR, Factory
from tests.sql.jobs import (
    DAY,
    EXPIRED,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    claim,
    claim_one,
    enqueue,
    leased,
    settle,
    settle_all,
    settlement,
)
from tests.sql.support import TICK, at, call, call_json, call_value, one, violates

UNLIMITED = {"max_running": None, "stagger_ms": 0, "paused": False, "resume_at": None, "pause_reason": None}


async def put(conn: asyncpg.Connection, max_running: int | None = None, stagger_ms: int = 0, **overrides: Any) -> Any:
    arguments = {"p_queue": "default", "p_now": NOW} | overrides
    return await call_json(
        conn, "put_queue", p_actor=ACTOR, p_max_running=max_running, p_stagger_ms=stagger_ms, **arguments
    )


async def pause(conn: asyncpg.Connection, pause_for: timedelta | None = None, **overrides: Any) -> Any:
    arguments = {"p_actor": ACTOR, "p_queue": "default", "p_now": NOW} | overrides
    return await call_json(conn, "pause_queue", p_pause_for=pause_for, **arguments)


async def resume(conn: asyncpg.Connection, queue: str = "default") -> Any:
    return await call_json(conn, "resume_queue", p_actor=ACTOR, p_queue=queue, p_now=NOW)


async def room(conn: asyncpg.Connection, queue: str = "default", **overrides: Any) -> int | None:
    found: int | None = await call_value(conn, "queue_room", p_queue=queue, **({"p_now": NOW} | overrides))
    return found


async def due_in(conn: asyncpg.Connection, *queues: str, **overrides: Any) -> timedelta | None:
    arguments = {"p_now": NOW} | overrides
    found: timedelta | None = await call_value(conn, "next_job_due_in", p_queues=list(queues), **arguments)
    return found


@pytest.mark.parametrize(
    ("paused_at", "resume_at", "is_paused"),
    [
        (None, None, False),
        (NOW - HOUR, None, True),
        (NOW - HOUR, NOW + TICK, True),
        (NOW - HOUR, NOW, False),
    ],
)
async def test_queue_is_paused_until_its_time_has_come(
    conn: asyncpg.Connection, paused_at: Any, resume_at: Any, is_paused: bool
) -> None:
    pauses = "INSERT INTO job_queues (name, paused_at, resume_at) VALUES ('default', $1, $2)"
    await conn.execute(pauses, paused_at, resume_at)
    found = await conn.fetchval("SELECT queue_is_paused(q, $1) FROM job_queues q", NOW)
    assert found is is_paused


async def test_a_queue_that_nobody_has_set_has_no_limits(conn: asyncpg.Connection) -> None:
    queue = await call_json(conn, "queue_json", p_queue="mails", p_now=NOW)

    assert queue == {"name": "mails", "due": 0, "running": 0} | UNLIMITED
    assert await room(conn, "mails") is None


async def test_a_queue_has_the_limits_that_were_set_last(conn: asyncpg.Connection) -> None:
    await put(conn, 5, 50)

    assert await put(conn, 7) == {"name": "default", "due": 0, "running": 0} | UNLIMITED | {"max_running": 7}


@pytest.mark.parametrize("max_running", [0, -1])
async def test_a_queue_that_may_run_nothing_is_refused(conn: asyncpg.Connection, max_running: int) -> None:
    # it would look like any other; a pause says what it is
    with violates("job_queues_max_running_check"):
        await put(conn, max_running)


@pytest.mark.parametrize("stagger_ms", [-1, 60_001])
async def test_starts_are_at_most_a_minute_apart(conn: asyncpg.Connection, stagger_ms: int) -> None:
    with violates("job_queues_stagger_ms_check"):
        await put(conn, None, stagger_ms)


async def test_a_queue_says_how_much_of_it_is_due_and_running(conn: asyncpg.Connection) -> None:
    for priority in (0, 1, 3):
        await enqueue(conn, p_priority=priority)
    await enqueue(conn, p_run_at=NOW + TICK)
    await enqueue(conn, p_queue="mails")
    await claim_one(conn, limit=1)

    queue = await call_json(conn, "queue_json", p_queue="default", p_now=NOW)

    assert (queue["due"], queue["running"]) == (2, 1)


async def test_what_is_set_for_a_queue_leaves_its_pause_alone(conn: asyncpg.Connection) -> None:
    await pause(conn, p_reason="the provider is down")

    queue = await put(conn, 5)

    assert (queue["paused"], queue["pause_reason"], queue["max_running"]) == (True, "the provider is down", 5)


async def test_nothing_is_claimed_from_a_paused_queue_until_it_is_resumed(conn: asyncpg.Connection) -> None:
    await enqueue(conn)
    paused = await pause(conn, p_reason="the provider is down")

    assert (paused["paused"], paused["resume_at"], paused["pause_reason"]) == (True, None, "the provider is down")
    assert await claim(conn, now=NOW + 1000 * DAY) == []
    assert await room(conn) == 0

    assert (await resume(conn))["paused"] is False
    assert len(await claim(conn)) == 1


async def test_a_pause_ends_by_itself_when_its_time_has_come(conn: asyncpg.Connection) -> None:
    await enqueue(conn)
    paused = await pause(conn, HOUR)

    assert at(paused["resume_at"]) == NOW + HOUR
    assert await claim(conn, now=NOW + HOUR - TICK) == []
    shown = await call_json(conn, "queue_json", p_queue="default", p_now=NOW + HOUR)
    assert (shown["paused"], shown["resume_at"], shown["pause_reason"]) == (False, None, None)
    assert len(await claim(conn, now=NOW + HOUR)) == 1


SYSTEM: dict[str, Any] = {"p_actor": '{"type": "system", "id": "cron"}', "p_reason": "5 failures on end"}


@pytest.mark.parametrize("pause_for", [None, DAY])
async def test_a_pause_that_is_on_is_changed_by_people_alone(
    conn: asyncpg.Connection, pause_for: timedelta | None
) -> None:
    asked = await pause(conn, pause_for, p_reason="the provider moves")

    assert await pause(conn, MINUTE, p_now=NOW + SECOND, **SYSTEM) == asked
    assert (await pause(conn, MINUTE, p_reason="it has moved"))["pause_reason"] == "it has moved"


async def test_a_queue_whose_pause_is_over_is_paused_again_by_whoever_sees_it_fail(conn: asyncpg.Connection) -> None:
    assert (await pause(conn, MINUTE, **SYSTEM))["paused"] is True

    again = await pause(conn, MINUTE, p_now=NOW + MINUTE, **SYSTEM)

    assert at(again["resume_at"]) == NOW + 2 * MINUTE


async def test_a_pause_keeps_the_limits(conn: asyncpg.Connection) -> None:
    await put(conn, 5, 50)

    await pause(conn)
    queue = await resume(conn)

    assert (queue["max_running"], queue["stagger_ms"]) == (5, 50)


async def test_other_queues_go_on_while_one_is_paused(conn: asyncpg.Connection) -> None:
    await pause(conn)
    await enqueue(conn, p_queue="mails")

    assert len(await claim(conn, queue="mails")) == 1


async def test_what_runs_when_its_queue_is_paused_is_settled(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    await pause(conn)

    assert await settle(conn, job, "processed") == "ok"


async def test_resuming_what_nobody_paused_changes_nothing(conn: asyncpg.Connection) -> None:
    await put(conn, 5)
    before = await conn.fetch("SELECT * FROM job_queues")

    assert (await resume(conn))["paused"] is False
    assert (await resume(conn, "mails"))["paused"] is False

    assert await conn.fetch("SELECT * FROM job_queues") == before


async def test_a_pause_that_is_none_has_no_end_and_no_reason(conn: asyncpg.Connection) -> None:
    await put(conn)

    with violates("job_queues_pause_check"):
        await conn.execute("UPDATE job_queues SET pause_reason = 'none'")


async def test_no_more_run_than_the_queue_allows(conn: asyncpg.Connection) -> None:
    await put(conn, 3)
    for _ in range(9):
        await enqueue(conn)

    jobs = await claim(conn, 2)
    assert await room(conn) == 1
    jobs += await claim(conn)
    assert (len(jobs), await room(conn), await claim(conn)) == (3, 0, [])

    await settle_all(
        conn, [settlement(job, outcome) for job, outcome in zip(jobs, ("processed", "failed"), strict=False)]
    )
    assert len(await claim(conn)) == 2


async def test_a_job_whose_lease_is_over_takes_room_until_it_is_rescued(conn: asyncpg.Connection) -> None:
    # it may be running still
    await put(conn, 1)
    await leased(conn)

    assert await room(conn, p_now=EXPIRED) == 0


async def test_a_limit_that_was_lowered_below_what_runs_leaves_no_room(conn: asyncpg.Connection) -> None:
    for _ in range(9):
        await enqueue(conn)
    await claim(conn, 5)

    await put(conn, 2)

    assert await claim(conn) == []


async def test_a_limit_is_that_of_its_queue_alone(conn: asyncpg.Connection) -> None:
    await put(conn, 1)
    for _ in range(3):
        await enqueue(conn, p_queue="mails")

    assert len(await claim(conn, queue="mails")) == 3


async def test_workers_are_told_of_the_queues_that_somebody_has_set(conn: asyncpg.Connection) -> None:
    await put(conn, 5, 50)
    await put(conn, 5, p_queue="mails")

    assert {tuple(row) for row in await call(conn, "queue_staggers")} == {("default", 50), ("mails", 0)}


async def test_the_queues_in_which_something_waits(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()
    for queue in ("mails", "bills", "mails", "checks"):
        await enqueue(conn, p_queue=queue, p_priority=len(queue) % 4, p_run_at=NOW + DAY)
    await leased(conn, p_queue="running")

    assert [row[0] for row in await call(conn, "pending_queues")] == ["bills", "checks", "mails"]


async def test_nothing_waits_in_no_queue(conn: asyncpg.Connection) -> None:
    assert await call(conn, "pending_queues") == []


async def test_how_long_until_the_next_job_of_some_queues_is_due(conn: asyncpg.Connection) -> None:
    for queue, priority, seconds in (("default", 3, 5), ("default", 0, 9), ("mails", 1, 2), ("bills", 1, -7)):
        await enqueue(conn, p_queue=queue, p_priority=priority, p_run_at=NOW + seconds * SECOND)

    assert await due_in(conn, "default") == 5 * SECOND
    assert await due_in(conn, "default", "mails") == 2 * SECOND
    assert await due_in(conn, "default", "mails", "bills") == -7 * SECOND
    assert await due_in(conn, "checks") is None
    assert await due_in(conn) is None


async def test_nobody_is_told_to_sleep_for_longer_than_a_day(conn: asyncpg.Connection) -> None:
    await enqueue(conn, p_run_at=NOW + 1000 * DAY)

    assert await due_in(conn, "default") == DAY


async def test_a_paused_queue_is_not_waited_for_until_its_pause_is_over(conn: asyncpg.Connection) -> None:
    await enqueue(conn, p_run_at=NOW + MINUTE)
    await pause(conn, 2 * MINUTE)

    assert await due_in(conn, "default") is None
    assert await due_in(conn, "default", p_now=NOW + 2 * MINUTE) == -MINUTE


async def test_how_long_until_the_database_has_something_to_do_by_itself(
    make: Factory, conn: asyncpg.Connection
) -> None:
    ends_at = NOW + HOUR
    await make.booking(await make.slot(starts_at=NOW), p_now=NOW - HOUR)
    await enqueue(conn, p_run_at=NOW + MINUTE)

    assert await due_in(conn, p_job_types=["complete_booking"]) == ends_at - NOW
    assert await due_in(conn, p_job_types=["expire_booking"]) is None
    assert await due_in(conn, "default", p_job_types=["complete_booking"]) == MINUTE


async def test_who_limits_pauses_and_resumes_a_queue_is_on_record(conn: asyncpg.Connection) -> None:
    await put(conn, 5)
    await put(conn, 5)
    await pause(conn, p_reason="the provider is down")
    await resume(conn)

    trail = await conn.fetch(
        """SELECT event, subject_id, performed_by_id, new_values ->> 'max_running', new_values ->> 'pause_reason'
        FROM audit_log ORDER BY id"""
    )

    assert [tuple(row) for row in trail] == [
        ("job_queue.created", "default", "tester", "5", None),
        # asked for what was so already, nothing changed
        ("job_queue.modified", "default", "tester", "5", "the provider is down"),
        ("job_queue.modified", "default", "tester", "5", None),
    ]


async def test_a_queue_that_somebody_deletes_is_on_record_and_has_no_limits(conn: asyncpg.Connection) -> None:
    await put(conn, 5)

    await conn.execute("DELETE FROM job_queues")

    assert await one(conn, "SELECT subject_id FROM audit_log WHERE event = 'job_queue.deleted'") == ("default",)
    assert await room(conn) is None
