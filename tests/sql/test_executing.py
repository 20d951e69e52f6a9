"""Executing a prebooking at a provider, as its handler does: what it takes, what is on record, and how it ends."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.credentials.support import put_provider, store
from tests.factories import ACTOR
from tests.sql.jobs import MINUTE, NOW, claim_one, job_status, rescue, settle
from tests.sql.support import call, call_json, call_row, call_value, one, refused

QUEUE = "provider:gametime"
OPENS = NOW
AHEAD = timedelta(seconds=4)
YOGA, BOXING = {"class": "yoga"}, {"class": "boxing"}


async def prebook(
    conn: asyncpg.Connection,
    ref: str = "ann",
    targets: tuple[dict[str, str], ...] = (YOGA, BOXING),
    opens_at: datetime = OPENS,
) -> UUID:
    row = await call_row(
        conn,
        "create_prebooking",
        p_actor=ACTOR,
        p_resource_id=None,
        p_provider="gametime",
        p_targets=json.dumps(targets),
        p_customer=json.dumps({"ref": ref}),
        p_opens_at=opens_at,
        p_now=opens_at - MINUTE,
    )
    return UUID(str(row["prebooking_id"]))


async def begin(conn: asyncpg.Connection, prebooking_id: UUID) -> list[asyncpg.Record]:
    return await call(conn, "begin_prebooking", p_actor=ACTOR, p_prebooking_id=prebooking_id, p_now=OPENS)


async def attempt(conn: asyncpg.Connection, prebooking_id: UUID, job: asyncpg.Record, choice: int = 1) -> UUID:
    return UUID(
        str(
            await call_value(
                conn,
                "begin_attempt",
                p_prebooking_id=prebooking_id,
                p_choice=choice,
                p_job_id=job["id"],
                p_lease_token=job["lease_token"],
                p_now=OPENS,
            )
        )
    )


async def end(conn: asyncpg.Connection, attempt_id: UUID, finding: str, **overrides: Any) -> None:
    await call(conn, "end_attempt", p_attempt_id=attempt_id, p_finding=finding, p_now=OPENS, **overrides)


async def finish(conn: asyncpg.Connection, prebooking_id: UUID, job: asyncpg.Record, **overrides: Any) -> None:
    arguments = {"p_actor": ACTOR, "p_prebooking_id": prebooking_id, "p_now": OPENS} | overrides
    await call(conn, "finish_prebooking", p_job_id=job["id"], p_lease_token=job["lease_token"], **arguments)


async def read(conn: asyncpg.Connection, prebooking_id: UUID) -> Any:
    return await call_json(conn, "get_prebooking", p_prebooking_id=prebooking_id)


async def sweep(conn: asyncpg.Connection, now: datetime) -> int:
    return int(await call_value(conn, "sweep_prebookings", p_actor=ACTOR, p_limit=100, p_now=now))


@pytest.fixture(autouse=True)
async def _gametime(conn: asyncpg.Connection) -> None:
    await put_provider(conn, p_stagger_ms=50)


@pytest.fixture
async def prebooking_id(conn: asyncpg.Connection) -> UUID:
    return await prebook(conn)


@pytest.fixture
async def job(conn: asyncpg.Connection, prebooking_id: UUID) -> asyncpg.Record:  # noqa: ARG001 - whose job it is
    return await claim_one(conn, queue=QUEUE, now=OPENS)


async def test_its_job_is_due_in_time_to_get_ready(conn: asyncpg.Connection, prebooking_id: UUID) -> None:
    due = "SELECT run_at, queue, payload::jsonb ->> 'prebooking_id' FROM jobs WHERE job_type = 'execute_prebooking'"

    assert await one(conn, due) == (OPENS - AHEAD, QUEUE, str(prebooking_id))


async def test_beginning_says_what_is_wanted_where_and_when(conn: asyncpg.Connection, prebooking_id: UUID) -> None:
    (plan,) = await begin(conn, prebooking_id)

    assert (plan["provider"], plan["adapter"], plan["is_enabled"]) == ("gametime", "club", True)
    assert (json.loads(plan["targets"]), plan["opens_at"], plan["fire_at"]) == ([YOGA, BOXING], OPENS, OPENS)
    assert json.loads(plan["customer"]) == {"ref": "ann", "name": None, "email": None, "phone": None}
    assert (plan["choice"], plan["is_booked"], plan["unclear_attempt_id"], plan["key_id"]) == (1, False, None, None)
    assert (await read(conn, prebooking_id))["status"] == "executing"
    # who comes after a crash gets the same
    assert await begin(conn, prebooking_id) == [plan]


async def test_there_is_nothing_to_begin_of_what_was_cancelled(conn: asyncpg.Connection, prebooking_id: UUID) -> None:
    await call(conn, "cancel_prebooking", p_actor=ACTOR, p_prebooking_id=prebooking_id)

    assert await begin(conn, prebooking_id) == []
    assert (await read(conn, prebooking_id))["status"] == "cancelled"


async def test_each_of_an_opening_fires_its_stagger_after_the_one_before(conn: asyncpg.Connection) -> None:
    ids = [await prebook(conn, f"c{n}") for n in range(4)]
    await call(conn, "cancel_prebooking", p_actor=ACTOR, p_prebooking_id=ids.pop(1))
    # neither another opening nor another provider is in the way
    another = await prebook(conn, "late", opens_at=OPENS + MINUTE)

    fire_at = [(await begin(conn, each))[0]["fire_at"] - OPENS for each in ids]
    ahead = "SELECT prebookings_ahead(p) FROM prebookings p WHERE p.id = $1"

    assert fire_at == [timedelta(milliseconds=50 * n) for n in range(3)]
    assert [await conn.fetchval(ahead, each) for each in [*ids, another]] == [0, 1, 2, 0]


async def test_an_attempt_is_on_record_before_anything_comes_of_it(
    conn: asyncpg.Connection, prebooking_id: UUID, job: asyncpg.Record
) -> None:
    await attempt(conn, prebooking_id, job, choice=2)

    (recorded,) = (await read(conn, prebooking_id))["attempts"]
    assert (recorded["target"], recorded["finding"], recorded["ended_at"]) == (BOXING, None, None)


async def test_nobody_without_the_job_begins_an_attempt(
    conn: asyncpg.Connection, prebooking_id: UUID, job: asyncpg.Record
) -> None:
    await rescue(conn, now=OPENS + MINUTE)

    with refused("SB020", "lease_lost"):
        await attempt(conn, prebooking_id, job)
    await claim_one(conn, queue=QUEUE, now=OPENS + 2 * MINUTE)
    with refused("SB020", "lease_lost"):
        await attempt(conn, prebooking_id, job)

    assert (await read(conn, prebooking_id))["attempts"] == []


# what came first, and what a later look says; whether that is believed
@pytest.mark.parametrize(
    ("first", "then", "stays"),
    [
        ("unknown", "booked", "booked"),
        ("unknown", "absent", "absent"),
        ("absent", "booked", "booked"),
        ("booked", "absent", "booked"),
        ("full", "booked", "full"),
        ("rate_limited", "unknown", "rate_limited"),
    ],
)
async def test_what_is_clear_stays(
    conn: asyncpg.Connection, prebooking_id: UUID, job: asyncpg.Record, first: str, then: str, stays: str
) -> None:
    attempt_id = await attempt(conn, prebooking_id, job)

    await end(conn, attempt_id, first, p_fired_at=OPENS)
    await end(conn, attempt_id, then)

    (recorded,) = (await read(conn, prebooking_id))["attempts"]
    assert recorded["finding"] == stays
    assert datetime.fromisoformat(recorded["fired_at"]) == OPENS


async def test_the_words_of_a_provider_are_kept_short(
    conn: asyncpg.Connection, prebooking_id: UUID, job: asyncpg.Record
) -> None:
    attempt_id = await attempt(conn, prebooking_id, job)

    await end(conn, attempt_id, "booked", p_detail="x" * 1000, p_confirmation="y" * 1000)

    (recorded,) = (await read(conn, prebooking_id))["attempts"]
    assert (recorded["detail"], recorded["confirmation"]) == ("x" * 500, "y" * 500)


@pytest.mark.parametrize(
    ("finding", "choice", "is_unclear", "is_booked"),
    [
        (None, 1, True, False),
        ("unknown", 1, True, False),
        ("absent", 1, True, False),
        ("booked", 1, False, True),
        ("full", 2, False, False),
        ("refused", 2, False, False),
        ("unavailable", 1, False, False),
        ("not_open_yet", 1, False, False),
    ],
)
async def test_who_begins_again_goes_on_where_it_stands(
    conn: asyncpg.Connection,
    prebooking_id: UUID,
    job: asyncpg.Record,
    finding: str | None,
    choice: int,
    is_unclear: bool,
    is_booked: bool,
) -> None:
    attempt_id = await attempt(conn, prebooking_id, job)
    if finding:
        await end(conn, attempt_id, finding, p_confirmation="SIM-1")

    (plan,) = await begin(conn, prebooking_id)

    assert (plan["choice"], plan["is_booked"]) == (choice, is_booked)
    assert plan["unclear_attempt_id"] == (attempt_id if is_unclear else None)
    assert plan["confirmation"] == ("SIM-1" if finding else None)


async def test_a_prebooking_and_its_job_are_over_together(
    conn: asyncpg.Connection, prebooking_id: UUID, job: asyncpg.Record
) -> None:
    await begin(conn, prebooking_id)
    fired_at = OPENS + timedelta(milliseconds=12)
    await end(conn, await attempt(conn, prebooking_id, job), "full", p_fired_at=fired_at)
    await end(conn, await attempt(conn, prebooking_id, job, 2), "booked", p_fired_at=fired_at + MINUTE)

    await finish(conn, prebooking_id, job, p_status="succeeded", p_booked_choice=2, p_confirmation="SIM-1")

    ended = await read(conn, prebooking_id)
    assert (ended["status"], ended["booked_target"], ended["confirmation"]) == ("succeeded", BOXING, "SIM-1")
    assert (ended["lateness_ms"], ended["needs_attention"]) == (12, False)
    assert await job_status(conn, job["id"]) == "processed"


@pytest.mark.parametrize("is_rescued", [True, False])
async def test_an_end_by_who_has_lost_the_job_is_undone(
    conn: asyncpg.Connection, prebooking_id: UUID, job: asyncpg.Record, is_rescued: bool
) -> None:
    await begin(conn, prebooking_id)
    await (rescue(conn, now=OPENS + MINUTE) if is_rescued else settle(conn, job, "skipped"))

    with refused("SB020", "lease_lost"):
        await finish(conn, prebooking_id, job, p_status="succeeded", p_booked_choice=1)

    assert (await read(conn, prebooking_id))["status"] == "executing"


@pytest.mark.parametrize(
    ("findings", "needs_attention"),
    [
        ([], False),
        (["full"], False),
        (["absent"], False),
        (["unknown"], True),
        ([None], True),
        (["unknown", "unavailable"], True),
    ],
)
async def test_a_person_looks_at_a_failure_of_which_nobody_knows_what_became(
    conn: asyncpg.Connection,
    prebooking_id: UUID,
    job: asyncpg.Record,
    findings: list[str | None],
    needs_attention: bool,
) -> None:
    await begin(conn, prebooking_id)
    for finding in findings:
        attempt_id = await attempt(conn, prebooking_id, job)
        if finding:
            await end(conn, attempt_id, finding)

    await finish(conn, prebooking_id, job, p_status="failed", p_reason="unavailable")

    ended = await read(conn, prebooking_id)
    assert (ended["reason"], ended["needs_attention"]) == ("unavailable", needs_attention)


@pytest.mark.parametrize(
    ("finding", "ended"),
    [
        ("full", ("failed", "gave_up", "no answer within 60.0 s", None, False)),
        ("unknown", ("failed", "gave_up", "no answer within 60.0 s", None, True)),
        (None, ("failed", "gave_up", "no answer within 60.0 s", None, True)),
        ("booked", ("succeeded", None, None, "SIM-1", False)),
    ],
)
async def test_what_its_job_left_is_swept_up(
    conn: asyncpg.Connection, prebooking_id: UUID, job: asyncpg.Record, finding: str | None, ended: tuple[Any, ...]
) -> None:
    await begin(conn, prebooking_id)
    attempt_id = await attempt(conn, prebooking_id, job)
    if finding:
        await end(conn, attempt_id, finding, p_confirmation="SIM-1" if finding == "booked" else None)
    await settle(conn, job, "permanent", error_message="no answer within 60.0 s")

    # somebody may be about to try again
    assert await sweep(conn, OPENS + MINUTE) == 0
    assert await sweep(conn, OPENS + MINUTE + AHEAD) == 1
    assert await sweep(conn, OPENS + MINUTE + AHEAD) == 0

    swept = await read(conn, prebooking_id)
    told = ("status", "reason", "detail", "confirmation", "needs_attention")
    assert tuple(swept[name] for name in told) == ended
    assert swept["booked_target"] == (YOGA if finding == "booked" else None)


async def test_what_still_has_a_job_is_not_swept_up(conn: asyncpg.Connection, prebooking_id: UUID) -> None:
    assert await sweep(conn, OPENS + timedelta(days=1)) == 0
    await claim_one(conn, queue=QUEUE)
    assert await sweep(conn, OPENS + timedelta(days=1)) == 0
    assert (await read(conn, prebooking_id))["status"] == "pending"


async def test_a_day_before_the_credentials_are_looked_at(conn: asyncpg.Connection) -> None:
    await store(conn)
    await conn.execute("UPDATE jobs SET status = 'cancelled', processed_at = now()")
    checks = "SELECT run_at, queue FROM jobs WHERE job_type = 'check_credentials' AND status = 'pending'"
    day = timedelta(days=1)

    # there is nothing to be learned of those who stored none, or stored them a moment ago
    await prebook(conn, "bob", opens_at=OPENS + 3 * day)
    await prebook(conn)
    assert await conn.fetch(checks) == []
    prebooking_id = await prebook(conn, targets=(BOXING,))
    await conn.execute("UPDATE prebookings SET opens_at = $2 WHERE id = $1", prebooking_id, OPENS + 3 * day)

    assert await one(conn, checks) == (OPENS + 2 * day, QUEUE)
    named = "SELECT check_credentials_before(p) FROM prebookings p WHERE p.id = $1"
    await conn.execute(named, prebooking_id)
    assert await one(conn, checks) == (OPENS + 2 * day, QUEUE)
