"""Rivals for the same jobs: each job has one holder, each end is the last, and nobody waits in a circle."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.concurrency.rivals import begin, connections, outcomes, until_waiting
from tests.concurrency.turns import in_turn
from tests.conftest import Connect
from tests.factories import ACTOR, Factory, change_booking
from tests.sql.jobs import (
    ATTEMPTS,
    DAY,
    EXPIRED,
    HOUR,
    NOW,
    OUTCOMES,
    SECOND,
    attempts_of,
    claim,
    claim_one,
    enqueue,
    extend,
    job_row,
    job_status,
    leased,
    rescue,
    settle,
    settle_all,
    settlement,
)
from tests.sql.support import call, call_json, call_value

KEY = {"p_dedupe_key": "ann"}


async def enqueue_many(conn: asyncpg.Connection, count: int) -> None:
    """So many jobs that are due, each a microsecond after the one before."""
    await conn.execute(
        """SELECT enqueue_job('mail', p_run_at => $1::timestamptz + n * interval '1 microsecond', p_now => $1)
        FROM generate_series(1, $2::integer) n""",
        NOW - SECOND,
        count,
    )


@asynccontextmanager
async def held(holder: asyncpg.Connection, statement: str, *arguments: Any) -> AsyncIterator[None]:
    """Whoever wants what the statement locks waits inside the block."""
    async with holder.transaction():
        await holder.execute(statement, *arguments)
        yield


async def at_once(
    connect: Connect, holder: asyncpg.Connection, table: str, attempts: list[Coroutine[Any, Any, Any]]
) -> list[Any]:
    """What all of them got who want to lock rows of the table, and are let in together."""
    observer = await connect()
    async with held(holder, f"LOCK TABLE {table} IN EXCLUSIVE MODE"):
        tasks = begin(attempts)
        await until_waiting(observer, len(tasks))
    won, lost = await outcomes(tasks)
    assert lost == []
    return won


async def as_person(conn: asyncpg.Connection, function: str, job_id: UUID) -> str:
    """The status of the job after cancel_job or retry_job."""
    job = await call_json(conn, function, p_actor=ACTOR, p_job_id=job_id, p_now=NOW)
    return str(job["status"])


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_sixteen_claimers_never_get_more_than_they_ask_for_nor_the_same_job(
    conn: asyncpg.Connection, connect: Connect, is_analyzed: bool
) -> None:
    # statistics of a table that is empty, or in which nothing waits, are the worst that a claim may be planned by
    await conn.execute("ALTER TABLE jobs SET (autovacuum_enabled = off)")
    await enqueue_many(conn, 1000)
    await conn.execute("UPDATE jobs SET status = 'cancelled', processed_at = now()")
    if is_analyzed:
        await conn.execute("ANALYZE jobs")
    await enqueue_many(conn, 100)
    rivals = await connections(connect, 16)

    shares = await at_once(connect, conn, "jobs", [claim(rival, 10, instance=str(n)) for n, rival in enumerate(rivals)])

    assert max(len(share) for share in shares) == 10
    claimed = [job["id"] for share in shares for job in share]
    assert len(claimed) == len(set(claimed)) == 100
    assert {(job["attempt"], job["lease_token"]) for share in shares for job in share} == {(1, 1)}


async def test_each_of_overlapping_claims_is_in_order(conn: asyncpg.Connection, connect: Connect) -> None:
    await enqueue_many(conn, 200)
    rivals = await connections(connect, 8)

    shares = await at_once(connect, conn, "jobs", [claim(rival, 20) for rival in rivals])

    assert all(share == sorted(share, key=lambda job: job["scheduled_at"]) for share in shares)
    assert sum(len(share) for share in shares) == 160


async def test_a_claim_passes_by_what_another_is_claiming(conn: asyncpg.Connection, connect: Connect) -> None:
    await enqueue_many(conn, 3)
    rival = await connect()

    async with rival.transaction(), asyncio.timeout(10):
        theirs = await claim(rival, 2)
        ours = await claim(conn)

    assert (len(theirs), len(ours)) == (2, 1)
    assert {job["id"] for job in ours}.isdisjoint(job["id"] for job in theirs)


async def test_what_a_claimer_who_dies_had_is_claimed_by_the_next(conn: asyncpg.Connection, connect: Connect) -> None:
    await enqueue_many(conn, 2)
    rival = await connect()

    transaction = rival.transaction()
    await transaction.start()
    assert len(await claim(rival)) == 2
    await transaction.rollback()

    assert [(job["attempt"], job["lease_token"]) for job in await claim(conn)] == [(1, 1), (1, 1)]


async def test_while_one_claims_from_a_limited_queue_another_is_told_to_come_again(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    await call(conn, "put_queue", p_actor=ACTOR, p_queue="default", p_max_running=5, p_stagger_ms=0)
    await enqueue_many(conn, 20)
    rival = await connect()

    async with rival.transaction(), asyncio.timeout(10):
        assert len(await claim(rival, 3)) == 3
        assert await claim(conn, 3) == []

    assert [len(await claim(conn, 3)) for _ in range(2)] == [2, 0]


async def test_ten_overlapping_claimers_never_exceed_the_limit_of_a_queue(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    await call(conn, "put_queue", p_actor=ACTOR, p_queue="default", p_max_running=5, p_stagger_ms=0)
    await enqueue_many(conn, 300)
    rivals = await connections(connect, 10)
    running: list[int] = []
    done: list[UUID] = []

    async def work(rival: asyncpg.Connection) -> None:
        while len(done) < 300:
            jobs = await claim(rival, 3)
            running.append(await rival.fetchval("SELECT count(*) FROM jobs WHERE status = 'processing'"))
            answers = await settle_all(rival, [settlement(job, "processed") for job in jobs])
            assert {answer for _, answer in answers} <= {"ok"}
            done.extend(job_id for job_id, _ in answers)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(rival) for rival in rivals))

    assert max(running) == 5
    assert len(set(done)) == len(done) == 300


async def test_claimers_who_are_let_into_a_limited_queue_together_share_its_room(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    await call(conn, "put_queue", p_actor=ACTOR, p_queue="default", p_max_running=5, p_stagger_ms=0)
    await enqueue_many(conn, 100)
    rivals = await connections(connect, 10)

    shares = await at_once(connect, conn, "job_queues", [claim(rival, 3) for rival in rivals])

    assert 3 <= sum(len(share) for share in shares) <= 5
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE status = 'processing'") <= 5


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_a_rescue_passes_by_a_job_that_is_being_settled(
    conn: asyncpg.Connection, connect: Connect, outcome: str
) -> None:
    job = await leased(conn)
    holder = await connect()

    async with holder.transaction(), asyncio.timeout(10):
        assert await settle(holder, job, outcome) == "ok"
        assert await rescue(conn) == 0
    settled = await job_row(conn, job["id"])

    assert await rescue(conn) == 0
    assert await job_row(conn, job["id"]) == settled
    assert settled["status"] == OUTCOMES[outcome]


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_whoever_settles_a_job_that_is_being_rescued_has_lost_it(
    conn: asyncpg.Connection, connect: Connect, outcome: str
) -> None:
    job = await leased(conn)
    rescuer, observer = await connections(connect, 2)

    async with rescuer.transaction():
        assert await rescue(rescuer) == 1
        (settling,) = await in_turn(observer, settle(conn, job, outcome, follow_ups=[{"job_type": "bill"}]))

    assert await settling == "stale"
    assert await attempts_of(conn, job["id"]) == [(1, 1, "lease_expired")]
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 1


async def test_a_thousand_jobs_that_are_settled_and_rescued_at_once_end_or_come_back_and_never_both(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    await enqueue_many(conn, 1000)
    jobs = await claim(conn, 1000)
    random.Random(7).shuffle(jobs)  # noqa: S311 - no secret
    told: Counter[str] = Counter()

    async def settle_share(rival: asyncpg.Connection, share: list[asyncpg.Record]) -> None:
        for n in range(0, len(share), 10):
            batch = [settlement(job, "processed") for job in share[n : n + 10]]
            told.update(answer for _, answer in await settle_all(rival, batch))

    async def rescue_some(rival: asyncpg.Connection) -> None:
        for _ in range(60):
            rescued = await rescue(rival, 10)
            told["rescued"] += rescued

    rivals = await connections(connect, 6)
    await asyncio.gather(
        *(settle_share(rival, jobs[n::3]) for n, rival in enumerate(rivals[:3])),
        *(rescue_some(rival) for rival in rivals[3:]),
    )

    assert (told["ok"], told["stale"]) == (1000 - told["rescued"], told["rescued"])
    assert min(told["ok"], told["rescued"]) > 0
    rows = await conn.fetch(
        f"""SELECT j.status, a.outcome, count(*) AS jobs FROM jobs j JOIN {ATTEMPTS} a ON a.job_id = j.id
        GROUP BY j.status, a.outcome ORDER BY j.status DESC"""
    )
    assert [tuple(row) for row in rows] == [
        ("processed", "processed", told["ok"]),
        ("pending", "lease_expired", told["rescued"]),
    ]


async def test_a_job_that_is_settled_twice_at_once_is_settled_once(conn: asyncpg.Connection, connect: Connect) -> None:
    job = await leased(conn)
    first, second, observer = await connections(connect, 3)

    async with held(conn, "SELECT FROM jobs FOR UPDATE"):
        tasks = await in_turn(
            observer,
            settle(first, job, "processed", follow_ups=[{"job_type": "bill"}]),
            settle(second, job, "processed", follow_ups=[{"job_type": "bill"}]),
        )

    assert sorted([await task for task in tasks]) == ["ok", "stale"]
    assert await attempts_of(conn, job["id"]) == [(1, 1, "processed")]
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE job_type = 'bill'") == 1


async def test_a_renewal_keeps_a_rescue_away(conn: asyncpg.Connection, connect: Connect) -> None:
    job = await leased(conn)
    holder = await connect()

    async with holder.transaction(), asyncio.timeout(10):
        assert await extend(holder, job, now=EXPIRED) == {job["id"]: False}
        assert await rescue(conn) == 0

    assert await rescue(conn) == 0


async def test_a_renewal_that_comes_during_a_rescue_learns_that_the_job_is_lost(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    job = await leased(conn)
    rescuer, observer = await connections(connect, 2)

    async with rescuer.transaction():
        assert await rescue(rescuer) == 1
        (renewing,) = await in_turn(observer, extend(conn, job, now=EXPIRED))

    assert await renewing == {}
    assert await job_status(conn, job["id"]) == "pending"


@pytest.mark.parametrize(("is_kept", "answer", "status"), [(True, "cancelled", "cancelled"), (False, "ok", "pending")])
async def test_a_job_comes_back_if_the_rival_of_its_key_does_not_stay(
    conn: asyncpg.Connection, connect: Connect, is_kept: bool, answer: str, status: str
) -> None:
    ours = await enqueue(conn, **KEY)
    await enqueue_many(conn, 9)
    jobs = await claim(conn)
    rival, observer = await connections(connect, 2)

    transaction = rival.transaction()
    await transaction.start()
    await enqueue(rival, p_run_at=NOW + HOUR, **KEY)
    (settling,) = await in_turn(observer, settle_all(conn, [settlement(job, "failed") for job in jobs]))
    await (transaction.commit() if is_kept else transaction.rollback())

    assert dict(await settling) == {job["id"]: "ok" for job in jobs} | {ours: answer}
    assert await job_status(conn, ours) == status
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE dedupe_key = 'ann' AND status = 'pending'") == 1


@pytest.mark.parametrize("is_kept", [True, False])
async def test_two_who_enqueue_under_one_key_leave_one_job_whether_or_not_the_first_stays(
    conn: asyncpg.Connection, connect: Connect, is_kept: bool
) -> None:
    rival, observer = await connections(connect, 2)

    transaction = rival.transaction()
    await transaction.start()
    first = await enqueue(rival, p_payload='{"n": 1}', **KEY)
    (second,) = await in_turn(observer, enqueue(conn, p_payload='{"n": 2}', **KEY))
    await (transaction.commit() if is_kept else transaction.rollback())

    assert (await second == first) is is_kept
    (row,) = await conn.fetch("SELECT id, status, payload FROM jobs")
    assert tuple(row) == (await second, "pending", '{"n": 2}')


async def test_twenty_who_enqueue_under_one_key_leave_one_job(conn: asyncpg.Connection, connect: Connect) -> None:
    rivals = await connections(connect, 20)

    ids = await at_once(connect, conn, "jobs", [enqueue(rival, **KEY) for rival in rivals])

    assert len(set(ids)) == 1
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 1


@pytest.mark.parametrize("is_kept", [True, False])
async def test_what_is_asked_for_while_its_job_is_being_claimed_is_not_lost(
    conn: asyncpg.Connection, connect: Connect, is_kept: bool
) -> None:
    job_id = await enqueue(conn, **KEY)
    claimer, observer = await connections(connect, 2)

    transaction = claimer.transaction()
    await transaction.start()
    assert (await claim_one(claimer))["id"] == job_id
    (asking,) = await in_turn(observer, enqueue(conn, p_run_at=NOW + HOUR, **KEY))
    await (transaction.commit() if is_kept else transaction.rollback())

    waiting = await asking
    assert (waiting == job_id) is not is_kept
    assert (await job_row(conn, waiting))["run_at"] == NOW + HOUR
    assert await job_status(conn, waiting) == "pending"


async def test_a_claim_passes_by_a_job_that_is_being_put_off(conn: asyncpg.Connection, connect: Connect) -> None:
    job_id = await enqueue(conn, **KEY)
    rival = await connect()

    async with rival.transaction(), asyncio.timeout(10):
        assert await enqueue(rival, p_run_at=NOW + HOUR, **KEY) == job_id
        assert await claim(conn) == []

    assert await claim(conn) == []
    assert (await claim_one(conn, now=NOW + HOUR))["id"] == job_id


async def test_a_job_that_is_cancelled_while_it_is_being_claimed_is_asked_to_stop(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    job_id = await enqueue(conn)
    claimer, observer = await connections(connect, 2)

    async with claimer.transaction():
        job = await claim_one(claimer)
        (cancelling,) = await in_turn(observer, as_person(conn, "cancel_job", job_id))

    assert await cancelling == "processing"
    assert await settle(conn, job, "failed") == "cancelled"


async def test_a_claim_passes_by_a_job_that_is_being_cancelled(conn: asyncpg.Connection, connect: Connect) -> None:
    job_id = await enqueue(conn)
    person = await connect()

    async with person.transaction(), asyncio.timeout(10):
        assert await as_person(person, "cancel_job", job_id) == "cancelled"
        assert await claim(conn) == []

    assert await claim(conn) == []


async def test_a_job_that_is_cancelled_while_it_fails_does_not_run_again(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    job = await leased(conn)
    settler, observer = await connections(connect, 2)

    async with settler.transaction():
        assert await settle(settler, job, "failed") == "ok"
        (cancelling,) = await in_turn(observer, as_person(conn, "cancel_job", job["id"]))

    assert await cancelling == "cancelled"


async def test_a_job_that_fails_while_it_is_being_cancelled_does_not_run_again(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    job = await leased(conn)
    person, observer = await connections(connect, 2)

    async with person.transaction():
        assert await as_person(person, "cancel_job", job["id"]) == "processing"
        (settling,) = await in_turn(observer, settle(conn, job, "failed"))

    assert await settling == "cancelled"
    assert await job_status(conn, job["id"]) == "cancelled"


async def discarded(conn: asyncpg.Connection) -> UUID:
    """A job of ann's that failed for good."""
    job = await leased(conn, **KEY)
    await settle(conn, job, "permanent")
    return UUID(str(job["id"]))


INVALID = ["SB007 invalid_transition"]


@pytest.mark.parametrize(("is_kept", "won", "lost"), [(True, [], INVALID), (False, ["pending"], [])])
async def test_a_job_whose_key_is_being_asked_for_is_retried_if_that_does_not_stay(
    conn: asyncpg.Connection, connect: Connect, is_kept: bool, won: list[str], lost: list[str]
) -> None:
    job_id = await discarded(conn)
    rival, observer = await connections(connect, 2)

    transaction = rival.transaction()
    await transaction.start()
    await enqueue(rival, **KEY)
    tasks = await in_turn(observer, as_person(conn, "retry_job", job_id))
    await (transaction.commit() if is_kept else transaction.rollback())

    assert await outcomes(tasks) == (won, lost)


async def test_of_two_jobs_of_one_key_that_are_retried_at_once_one_is(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    ids = [await discarded(conn), await discarded(conn)]
    first, observer = await connections(connect, 2)

    async with first.transaction():
        assert await as_person(first, "retry_job", ids[0]) == "pending"
        tasks = await in_turn(observer, as_person(conn, "retry_job", ids[1]))

    assert await outcomes(tasks) == ([], INVALID)


async def test_a_job_that_is_retried_twice_at_once_is_retried_once(conn: asyncpg.Connection, connect: Connect) -> None:
    job_id = await discarded(conn)
    first, second, observer = await connections(connect, 3)

    async with held(conn, "SELECT FROM jobs FOR UPDATE"):
        tasks = await in_turn(observer, as_person(first, "retry_job", job_id), as_person(second, "retry_job", job_id))

    assert await outcomes(tasks) == (["pending"], INVALID)


async def test_an_old_job_that_is_being_retried_is_not_forgotten(conn: asyncpg.Connection, connect: Connect) -> None:
    job_id = await discarded(conn)
    person = await connect()

    async with person.transaction(), asyncio.timeout(10):
        await as_person(person, "retry_job", job_id)
        assert await call_value(conn, "prune_jobs", p_limit=9, p_now=NOW + 99 * DAY) == 0

    assert await call_value(conn, "prune_jobs", p_limit=9, p_now=NOW + 99 * DAY) == 0
    assert await job_status(conn, job_id) == "pending"


async def test_a_retry_that_comes_while_the_job_is_forgotten_finds_none(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    job_id = await discarded(conn)
    pruner, observer = await connections(connect, 2)

    async with pruner.transaction():
        assert await call_value(pruner, "prune_jobs", p_limit=9, p_now=NOW + 99 * DAY) == 1
        tasks = await in_turn(observer, as_person(conn, "retry_job", job_id))

    assert await outcomes(tasks) == ([], ["SB021 job_not_found"])


async def complete(conn: asyncpg.Connection, job: asyncpg.Record) -> None:
    """An effect in the database, and its job, in one transaction."""
    async with conn.transaction():
        await conn.execute("INSERT INTO customers (ref) VALUES (gen_random_uuid()::text)")
        await call(conn, "complete_leased_job", p_job_id=job["id"], p_lease_token=job["lease_token"])


async def test_of_two_who_do_one_job_inside_the_database_one_has_done_it(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    job = await leased(conn)
    first, second, observer = await connections(connect, 3)

    async with held(conn, "SELECT FROM jobs FOR UPDATE"):
        tasks = await in_turn(observer, complete(first, job), complete(second, job))

    assert await outcomes(tasks) == ([None], ["SB020 lease_lost"])
    assert await conn.fetchval("SELECT count(*) FROM customers") == 1


async def three_leased(conn: asyncpg.Connection) -> list[asyncpg.Record]:
    """Three jobs of one holder, in the order of their ids, which is the order of locks."""
    await enqueue_many(conn, 3)
    return sorted(await claim(conn), key=lambda job: job["id"])


async def test_batches_that_share_jobs_in_opposite_order_are_both_settled(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    jobs = await three_leased(conn)
    batch = [settlement(job, "failed") for job in jobs]
    first, second, observer = await connections(connect, 3)

    async with held(conn, "SELECT FROM jobs WHERE id = $1 FOR UPDATE", jobs[1]["id"]):
        tasks = await in_turn(observer, settle_all(first, batch), settle_all(second, batch[::-1]))

    won, lost = await outcomes(tasks)
    assert lost == []
    assert [{answer for _, answer in answers} for answers in won] == [{"ok"}, {"stale"}]


@pytest.mark.parametrize("step", [1, -1])
async def test_a_worker_renews_its_leases_while_it_settles_whatever_the_order(
    conn: asyncpg.Connection, connect: Connect, step: int
) -> None:
    jobs = await three_leased(conn)
    renewer, settler, observer = await connections(connect, 3)

    async with held(conn, "SELECT FROM jobs WHERE id = $1 FOR UPDATE", jobs[1]["id"]):
        tasks = await in_turn(
            observer,
            extend(renewer, *jobs[::step]),
            settle_all(settler, [settlement(job, "processed") for job in jobs]),
        )

    won, lost = await outcomes(tasks)
    assert lost == []
    assert {answer for _, answer in won[1]} == {"ok"}


async def test_two_who_renew_the_same_leases_in_opposite_order_both_do(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    jobs = await three_leased(conn)
    first, second, observer = await connections(connect, 3)

    async with held(conn, "SELECT FROM jobs WHERE id = $1 FOR UPDATE", jobs[1]["id"]):
        tasks = await in_turn(observer, extend(first, *jobs), extend(second, *jobs[::-1]))

    won, lost = await outcomes(tasks)
    assert (len(won), lost) == (2, [])


def followed_by(*keys: str) -> list[dict[str, Any]]:
    return [{"job_type": "mail", "dedupe_key": key, "run_at": str(NOW + HOUR)} for key in keys]


async def test_what_follows_two_jobs_under_the_same_keys_is_asked_for_in_one_order(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    mine, theirs, _ = await three_leased(conn)
    first, second, observer = await connections(connect, 3)

    async with conn.transaction():
        await enqueue(conn, p_dedupe_key="m")
        tasks = await in_turn(
            observer,
            settle(first, mine, "processed", follow_ups=followed_by("a", "m", "z")),
            settle(second, theirs, "processed", follow_ups=followed_by("z", "m", "a")),
        )

    assert await outcomes(tasks) == (["ok", "ok"], [])
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE status = 'pending'") == 3


async def test_everybody_at_the_same_few_jobs_at_once_is_never_ended_by_a_deadlock(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    told: Counter[str] = Counter()
    keys = [str(n) for n in range(12)]

    async def worker(rival: asyncpg.Connection, chance: random.Random) -> None:
        # each third time it dies with what it claimed
        is_doomed = chance.randrange(3) == 0
        jobs = await claim(rival, 5, now=NOW + HOUR, lease=SECOND if is_doomed else DAY)
        if is_doomed:
            return
        await extend(rival, *chance.sample(jobs, len(jobs)), now=NOW + HOUR, lease=DAY)
        batch = [
            settlement(
                job, chance.choice(list(OUTCOMES)), run_at=str(NOW), follow_ups=followed_by(*chance.sample(keys, 3))
            )
            for job in chance.sample(jobs, len(jobs))
        ]
        told.update(answer for _, answer in await settle_all(rival, batch, NOW - HOUR))

    async def rescuer(rival: asyncpg.Connection, _: random.Random) -> None:
        rescued = await rescue(rival, 3, now=NOW + 2 * HOUR)
        told["rescued"] += rescued

    async def person(rival: asyncpg.Connection, chance: random.Random) -> None:
        ids = [row["id"] for row in await rival.fetch("SELECT id FROM jobs ORDER BY updated_at DESC LIMIT 20")]
        if ids:
            function = chance.choice(["cancel_job", "retry_job"])
            won, lost = await outcomes([as_person(rival, function, chance.choice(ids))])
            told.update(won)
            assert lost in ([], INVALID), function

    async def customer(rival: asyncpg.Connection, chance: random.Random) -> None:
        for key in chance.sample(keys, 3):
            await enqueue(rival, p_dedupe_key=key, p_run_at=NOW, p_priority=chance.randrange(4))

    async def again_and_again(play: Any, rival: asyncpg.Connection, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - no secret
        for _ in range(100):
            await play(rival, chance)

    plays = [worker] * 4 + [rescuer] * 2 + [person] * 2 + [customer] * 3
    rivals = await connections(connect, len(plays))
    async with asyncio.timeout(100):
        await asyncio.gather(
            *(again_and_again(play, rival, n) for n, (play, rival) in enumerate(zip(plays, rivals, strict=True)))
        )

    # everything did happen
    assert min(told[word] for word in ("ok", "cancelled", "rescued", "pending")) > 0, told
    twice = """SELECT count(*) FROM (
      SELECT FROM jobs WHERE status = 'pending' GROUP BY job_type, dedupe_key HAVING count(*) > 1
    ) t"""
    assert await conn.fetchval(twice) == 0
    # each token that was given is on record once, or is held
    unaccounted = f"""SELECT count(*)
    FROM jobs j
    WHERE j.lease_token - (j.status = 'processing')::integer
      <> (SELECT count(*) FROM {ATTEMPTS} a WHERE a.job_id = j.id)
    """
    assert await conn.fetchval(unaccounted) == 0


async def take_jobs_away(conn: asyncpg.Connection) -> None:
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute("DELETE FROM jobs")


async def backfill(conn: asyncpg.Connection) -> int:
    return int(await call_value(conn, "backfill_jobs", p_limit=9))


async def pending_jobs(conn: asyncpg.Connection) -> int:
    return int(await conn.fetchval("SELECT count(*) FROM jobs WHERE status = 'pending'"))


async def test_a_booking_that_is_being_cancelled_gets_no_job(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    booking_id = await make.booking()
    await take_jobs_away(conn)
    customer = await connect()

    async with customer.transaction(), asyncio.timeout(10):
        await change_booking(customer, "cancel_booking", booking_id, 1)
        assert await backfill(conn) == 0

    assert await backfill(conn) == 0
    assert await pending_jobs(conn) == 0


async def test_a_booking_that_is_cancelled_while_it_gets_its_job_loses_it_again(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    booking_id = await make.booking()
    await take_jobs_away(conn)
    repairer, observer = await connections(connect, 2)

    async with repairer.transaction():
        assert await backfill(repairer) == 1
        tasks = await in_turn(observer, change_booking(conn, "cancel_booking", booking_id, 1))

    (cancelled,), lost = await outcomes(tasks)
    assert (json.loads(cancelled["body"])["status"], lost) == ("cancelled", [])
    assert await pending_jobs(conn) == 0
