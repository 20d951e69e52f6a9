"""Auto-syncs under rivals: one end, one booking, one message each, and never two jobs of a type."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg

from tests.concurrency.rivals import (
    assert_counters_equal_a_recount,
    begin,
    connections,
    outcomes,
    until_waiting,
)
from tests.conftest import Connect
from tests.factories import Factory
from tests.sql.auto_syncs import (
    MEMBERS,
    PAUSE,
    REMINDER,
    answer,
    assert_no_violation,
    by_email,
    events,
    join,
    make_crew,
    pause,
    pending,
    proposed,
    read,
    remind,
    start,
    started,
    step,
    told,
    with_slots,
)
from tests.sql.jobs import claim
from tests.sql.support import call_row

TWICE = """
    SELECT count(*) FROM (
      SELECT FROM jobs WHERE job_type LIKE 'auto_sync_%' AND status = 'pending' GROUP BY dedupe_key, job_type
      HAVING count(*) > 1
    ) twice
"""


@asynccontextmanager
async def held(holder: asyncpg.Connection, sync: Any) -> AsyncIterator[None]:
    """Nobody else gets at this auto-sync inside the block."""
    async with holder.transaction():
        await holder.execute("SELECT FROM auto_syncs WHERE id = $1 FOR UPDATE", UUID(sync["id"]))
        yield


async def race(
    connect: Connect, holder: asyncpg.Connection, sync: Any, *attempts: Coroutine[Any, Any, Any]
) -> tuple[list[Any], list[str]]:
    """Let them all wait for the auto-sync, and then go."""
    observer = await connect()
    async with held(holder, sync):
        tasks = begin(attempts)
        await until_waiting(observer, len(tasks))
    return await outcomes(tasks)


async def test_of_the_last_answers_at_once_one_completes_and_books(
    conn: asyncpg.Connection, connect: Connect, make: Factory
) -> None:
    await by_email(conn)
    resource_id, slots = await with_slots(make)
    sync = await started(conn, p_times=proposed(slots), p_resource_id=resource_id)
    rivals = await connections(connect, len(MEMBERS))

    won, lost = await race(
        connect, conn, sync, *(answer(rival, sync, ref) for rival, ref in zip(rivals, MEMBERS, strict=True))
    )

    assert (len(won), lost) == (3, [])
    after = await read(conn, sync)
    assert (after["status"], after["answered"]) == ("completed", 3)
    assert (await events(conn)).count("completed") == 1
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1
    assert await told(conn, "auto_sync_completed") == [*MEMBERS, "org"]
    await assert_counters_equal_a_recount(conn)
    await assert_no_violation(conn)


async def test_a_reminder_waits_for_an_answer_under_way_and_is_not_sent_after_it(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    await by_email(conn)
    sync = await started(conn)
    await conn.execute(
        "UPDATE jobs SET status = 'cancelled', processed_at = now() WHERE queue = 'messages' AND status = 'pending'"
    )
    await answer(conn, sync, "bob")
    await remind(conn)
    jobs = await claim(conn, queue="messages", now=REMINDER)
    rival = await connect()

    async def begin_message(job: asyncpg.Record) -> asyncpg.Record:
        message_id = UUID(json.loads(job["payload"])["message_id"])
        return await call_row(
            rival, "begin_message", p_message_id=message_id, p_job_id=job["id"], p_lease_token=job["lease_token"]
        )

    of_ann = "SELECT m.id::text FROM messages m JOIN customers c ON c.id = m.customer_id WHERE c.ref = 'ann'"
    ids = {row[0] for row in await conn.fetch(of_ann)}
    (job,) = [job for job in jobs if json.loads(job["payload"])["message_id"] in ids]
    async with conn.transaction():
        await answer(conn, sync, "ann", p_now=REMINDER)
        (beginning,) = begin([begin_message(job)])
        await until_waiting(await connect(), 1)

    assert (await beginning)["skip_reason"] == "outdated"


async def test_a_pause_and_the_goal_at_once_leave_one_end_and_no_job(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    for turn in range(4):
        sync = await start(conn, await make_crew(conn, f"m{turn}"))
        one, two = await connections(connect, 2)
        attempts = [answer(one, sync, f"m{turn}"), step(two, sync, "paused")]

        _, lost = await race(connect, conn, sync, *(attempts if turn % 2 else reversed(attempts)))

        after = await read(conn, sync)
        assert after["answered"] == 1
        assert (after["status"], len(lost)) in {("completed", 1), ("paused", 0)}
        assert await pending(conn, sync) == []
    await assert_no_violation(conn)


async def test_sweeps_at_once_remind_and_pause_once(conn: asyncpg.Connection, connect: Connect) -> None:
    await by_email(conn)
    crew_id = await make_crew(conn, *MEMBERS)
    syncs = [await start(conn, crew_id) for _ in range(20)]
    rivals = await connections(connect, 4)

    reminded = await asyncio.gather(*(remind(rival) for rival in rivals))
    reminded.append(await remind(conn))
    paused = await asyncio.gather(*(pause(rival) for rival in rivals))
    paused.append(await pause(conn))

    assert sum(reminded) == sum(paused) == len(syncs)
    assert len(await told(conn, "auto_sync_reminder")) == len(syncs) * len(MEMBERS)
    happened = await events(conn)
    assert (happened.count("reminded"), happened.count("paused")) == (20, 20)


async def test_a_sweep_passes_by_what_somebody_holds(conn: asyncpg.Connection, connect: Connect) -> None:
    sync = await started(conn)
    rival = await connect()

    async with held(conn, sync):
        assert await remind(rival) == 0
    assert await remind(rival) == 1


async def test_who_joins_while_it_is_started_is_asked(conn: asyncpg.Connection, connect: Connect) -> None:
    crew_id = await make_crew(conn, "ann")
    one, two = await connections(connect, 2)
    observer = await connect()

    async with conn.transaction():
        await conn.execute("SELECT FROM crews WHERE id = $1 FOR UPDATE", crew_id)
        tasks: list[asyncio.Task[Any]] = begin([start(one, crew_id), join(two, crew_id, "bob")])
        await until_waiting(observer, 2)
    await asyncio.gather(*tasks)

    asked = "SELECT count(*) FROM auto_sync_participants"
    assert await conn.fetchval(asked) == 2


def move(chance: random.Random, rival: asyncpg.Connection, sync: Any) -> Coroutine[Any, Any, Any]:
    """Something that may happen to it."""
    match chance.randrange(4):
        case 0:
            return remind(rival, PAUSE)
        case 1:
            return pause(rival, PAUSE)
        case 2:
            return step(rival, sync, chance.choice(("paused", "running", "running")))
    return answer(rival, sync, chance.choice(MEMBERS), p_now=REMINDER)


async def test_whatever_races_there_is_one_job_for_each_that_runs(conn: asyncpg.Connection, connect: Connect) -> None:
    rivals = await connections(connect, 6)
    crew_id = await make_crew(conn, *MEMBERS)
    chance = random.Random(4)  # noqa: S311 - to do the same again
    for _ in range(15):
        sync = await start(conn, crew_id, p_response_goal="number", p_goal_number=2)
        _, lost = await outcomes([move(chance, rival, sync) for rival in rivals])
        # steps from an end, and answers after it
        assert {refusal.partition(" ")[0] for refusal in lost} <= {"SB007", "SB033"}
        assert await conn.fetchval(TWICE) == 0
        await assert_no_violation(conn)
    assert {"completed", "paused"} <= set(await events(conn))
