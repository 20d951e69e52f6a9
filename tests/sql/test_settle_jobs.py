"""settle_jobs and what it calls: return_job, end_job, retry_delay; complete_leased_job and extend_leases beside it."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.sql.jobs import (
    ATTEMPTS,
    EXPIRED,
    HOUR,
    LEASE,
    MINUTE,
    NOW,
    OUTCOMES,
    SECOND,
    WAYS_TO_LOSE,
    attempts_of,
    claim,
    claim_one,
    enqueue,
    extend,
    job_row,
    job_status,
    late,
    leased,
    rescue,
    settle,
    settle_all,
    settle_tokens,
    settlement,
)
from tests.sql.support import NOBODY, TICK, call, call_value, refused

RETURNED = [outcome for outcome, status in OUTCOMES.items() if status == "pending"]
COUNTED = ["failed", "budget"]
DONE = NOW + SECOND


async def cancel_while_it_runs(conn: asyncpg.Connection, job: asyncpg.Record) -> None:
    await call_value(conn, "cancel_job", p_actor='{"type": "admin", "id": "ann"}', p_job_id=job["id"], p_now=NOW)


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_each_outcome_leads_to_its_status_and_the_lease_is_over(conn: asyncpg.Connection, outcome: str) -> None:
    job = await leased(conn)

    assert await settle(conn, job, outcome, now=DONE) == "ok"

    settled = await job_row(conn, job["id"])
    assert (settled["status"], settled["leased_until"], settled["updated_at"]) == (OUTCOMES[outcome], None, DONE)
    assert settled["processed_at"] == (None if settled["status"] == "pending" else DONE)
    assert settled["lease_token"] == 1


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_each_attempt_is_on_record_once_with_who_made_it_and_when(conn: asyncpg.Connection, outcome: str) -> None:
    job = await leased(conn)
    await settle(conn, job, outcome, now=DONE, error_message="so it went")

    (row,) = await conn.fetch(f"SELECT * FROM {ATTEMPTS} a")

    assert tuple(row) == (job["id"], 1, 1, "one", outcome, "so it went", NOW, DONE)


async def test_what_was_done_keeps_its_result(conn: asyncpg.Connection) -> None:
    job = await leased(conn)

    await settle(conn, job, "processed", result={"sent": 3})

    assert json.loads((await job_row(conn, job["id"]))["result"]) == {"sent": 3}


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_no_error_is_longer_than_two_thousand_characters(conn: asyncpg.Connection, outcome: str) -> None:
    job = await leased(conn)

    await settle(conn, job, outcome, error_message="e" * 100_000)

    assert (await job_row(conn, job["id"]))["error_message"] == "e" * 2000
    assert await conn.fetchval(f"SELECT error_message FROM {ATTEMPTS} a") == "e" * 2000


@pytest.mark.parametrize("outcome", COUNTED)
async def test_a_failure_uses_up_an_attempt_and_waits(conn: asyncpg.Connection, outcome: str) -> None:
    job = await leased(conn)

    await settle(conn, job, outcome)

    waiting = await job_row(conn, job["id"])
    assert waiting["attempt"] == 1
    assert NOW + 5 * SECOND <= waiting["run_at"] <= NOW + 10 * SECOND
    assert waiting["scheduled_at"] == NOW


@pytest.mark.parametrize("outcome", COUNTED)
async def test_the_last_failure_is_the_end(conn: asyncpg.Connection, outcome: str) -> None:
    job = await leased(conn, p_max_attempts=2)
    await settle(conn, job, outcome)
    job = await claim_one(conn, now=NOW + HOUR)

    assert await settle(conn, job, outcome, now=NOW + HOUR, error_message="gone") == "ok"

    ended = await job_row(conn, job["id"])
    assert (ended["status"], ended["attempt"], ended["processed_at"]) == ("discarded", 2, NOW + HOUR)
    assert ended["error_message"] == "gone"
    assert await attempts_of(conn, job["id"]) == [(1, 1, outcome), (2, 2, outcome)]


async def test_what_cannot_ever_be_done_ends_at_the_first_attempt(conn: asyncpg.Connection) -> None:
    job = await leased(conn)

    await settle(conn, job, "permanent", error_message="no such address")

    assert await job_status(conn, job["id"]) == "discarded"
    assert await claim(conn, now=NOW + HOUR) == []


@pytest.mark.parametrize("outcome", COUNTED)
@pytest.mark.parametrize("said", ["after", "run_at"])
async def test_nothing_is_tried_again_before_the_provider_said(
    conn: asyncpg.Connection, outcome: str, said: str
) -> None:
    job = await leased(conn)

    told: dict[str, Any] = {said: "600 seconds" if said == "after" else str(NOW + 10 * MINUTE)}
    await settle(conn, job, outcome, **told)

    assert (await job_row(conn, job["id"]))["run_at"] == NOW + 10 * MINUTE


async def test_a_provider_that_says_at_once_does_not_shorten_the_wait(conn: asyncpg.Connection) -> None:
    job = await leased(conn)

    await settle(conn, job, "failed", after="0 seconds")

    assert (await job_row(conn, job["id"]))["run_at"] >= NOW + 5 * SECOND


@pytest.mark.parametrize("attempts", [1, 4])
async def test_a_job_that_is_snoozed_comes_when_told_and_keeps_its_attempt(
    conn: asyncpg.Connection, attempts: int
) -> None:
    job = await leased(conn, p_max_attempts=attempts)

    for hours in range(1, attempts + 3):
        until = NOW + hours * HOUR
        assert await settle(conn, job, "snoozed", run_at=str(until)) == "ok"
        snoozed = await job_row(conn, job["id"])
        assert (snoozed["run_at"], snoozed["attempt"], snoozed["scheduled_at"]) == (until, 0, NOW)
        job = await claim_one(conn, now=until)

    assert job["attempt"] == 1


async def test_a_job_that_is_released_is_due_as_before(conn: asyncpg.Connection) -> None:
    job = await leased(conn, p_run_at=NOW - HOUR, p_max_attempts=1)

    await settle(conn, job, "released", error_message=None)

    released = await job_row(conn, job["id"])
    assert (released["run_at"], released["attempt"]) == (NOW - HOUR, 0)
    assert (await claim_one(conn))["id"] == job["id"]


async def test_the_last_error_stays_while_a_job_is_only_put_off(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    await settle(conn, job, "failed", error_message="down")
    job = await claim_one(conn, now=NOW + MINUTE)

    await settle(conn, job, "released", now=NOW + MINUTE)

    assert (await job_row(conn, job["id"]))["error_message"] == "down"


async def test_the_wait_doubles_from_ten_seconds_to_an_hour_less_up_to_half(conn: asyncpg.Connection) -> None:
    for attempt, longest in {1: 10, 2: 20, 3: 40, 9: 2560, 10: 3600, 20: 3600, 1000: 3600}.items():
        waits = [(await call_value(conn, "retry_delay", p_attempt=attempt)).total_seconds() for _ in range(50)]

        assert longest / 2 <= min(waits) < max(waits) <= longest


@pytest.mark.parametrize("way", WAYS_TO_LOSE)
@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_who_has_lost_a_job_changes_nothing_of_it_whatever_came_of_it(
    conn: asyncpg.Connection, way: str, outcome: str
) -> None:
    lost, _ = await late(conn, way)
    before = await job_row(conn, lost["id"]), await attempts_of(conn, lost["id"])

    follow_up = [{"job_type": "bill"}]
    answer = await settle(conn, lost, outcome, now=EXPIRED + HOUR, error_message="late", follow_ups=follow_up)

    assert answer == "stale"
    assert (await job_row(conn, lost["id"]), await attempts_of(conn, lost["id"])) == before
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 1


@pytest.mark.parametrize("way", WAYS_TO_LOSE)
async def test_who_has_lost_a_job_cannot_renew_its_lease(conn: asyncpg.Connection, way: str) -> None:
    lost, _ = await late(conn, way)
    before = await job_row(conn, lost["id"])

    assert await extend(conn, lost) == {}
    assert await job_row(conn, lost["id"]) == before


@pytest.mark.parametrize("way", WAYS_TO_LOSE)
async def test_who_has_lost_a_job_cannot_complete_it_with_its_effect(conn: asyncpg.Connection, way: str) -> None:
    lost, _ = await late(conn, way)

    with refused("SB020", "lease_lost") as refusal:
        await complete(conn, lost)

    assert refusal.detail == {"job_id": str(lost["id"]), "lease_token": 1}


async def complete(conn: asyncpg.Connection, job: asyncpg.Record, **more: Any) -> None:
    await call(conn, "complete_leased_job", p_job_id=job["id"], p_lease_token=job["lease_token"], **more)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("ours", ["processed", "failed", "released"])
async def test_of_two_tokens_of_a_job_in_one_call_only_the_present_one_counts(
    conn: asyncpg.Connection, ours: str, outcome: str
) -> None:
    # who lost a job and then claimed it may have both of its runs to settle
    lost, held = await late(conn, "claimed by another")
    assert held

    batch = [
        settlement(lost, outcome, after="1 minute", follow_ups=[{"job_type": "bill"}]),
        settlement(held, ours, after="1 minute"),
    ]
    assert await settle_tokens(conn, batch, NOW + HOUR) == {(held["id"], 1): "stale", (held["id"], 2): "ok"}

    assert await job_status(conn, held["id"]) == OUTCOMES[ours]
    assert await attempts_of(conn, held["id"]) == [(1, 1, "lease_expired"), (2, 2, ours)]
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 1


async def test_a_job_that_nobody_knows_is_stale(conn: asyncpg.Connection) -> None:
    batch = [{"id": str(NOBODY), "lease_token": 1, "outcome": "processed", "follow_ups": [{"job_type": "bill"}]}]

    assert await settle_all(conn, batch) == [(NOBODY, "stale")]
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 0


async def test_a_token_that_was_never_given_is_stale(conn: asyncpg.Connection) -> None:
    job = dict(await leased(conn)) | {"lease_token": 2}

    assert await settle_all(conn, [settlement(job, "processed")]) == [(job["id"], "stale")]  # type: ignore[arg-type]
    assert await job_status(conn, job["id"]) == "processing"


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_a_lease_that_is_over_counts_while_nobody_has_rescued_the_job(
    conn: asyncpg.Connection, outcome: str
) -> None:
    job = await leased(conn)

    assert await settle(conn, job, outcome, now=EXPIRED + HOUR) == "ok"
    assert await attempts_of(conn, job["id"]) == [(1, 1, outcome)]


async def test_nothing_to_settle_is_no_answer(conn: asyncpg.Connection) -> None:
    assert await settle_all(conn, []) == []


async def test_each_of_a_batch_is_settled_by_itself(conn: asyncpg.Connection) -> None:
    for _ in OUTCOMES:
        await enqueue(conn)
    jobs = dict(zip(OUTCOMES, await claim(conn), strict=True))
    lost = await leased(conn, p_dedupe_key="lost")
    await settle(conn, lost, "processed")

    batch = [settlement(job, outcome, after="1 minute") for outcome, job in jobs.items()]
    answers = await settle_all(conn, [*batch, settlement(lost, "failed")])

    assert dict(answers) == {job["id"]: "ok" for job in jobs.values()} | {lost["id"]: "stale"}
    assert {outcome: await job_status(conn, job["id"]) for outcome, job in jobs.items()} == OUTCOMES


@pytest.mark.parametrize("outcome", RETURNED)
async def test_a_job_whose_key_waits_again_is_superseded_and_the_rest_of_the_batch_goes_on(
    conn: asyncpg.Connection, outcome: str
) -> None:
    for n in range(10):
        await enqueue(conn, p_dedupe_key=str(n), p_run_at=NOW - (10 - n) * SECOND)
    jobs = await claim(conn)
    twin = await enqueue(conn, p_dedupe_key="4", p_run_at=NOW + HOUR)

    answers = dict(await settle_all(conn, [settlement(job, outcome, after="1 minute") for job in jobs]))

    superseded = jobs[4]["id"]
    assert answers == {job["id"]: "ok" for job in jobs} | {superseded: "cancelled"}
    assert [await job_status(conn, job["id"]) for job in jobs] == [*["pending"] * 4, "cancelled", *["pending"] * 5]
    assert await job_status(conn, twin) == "pending"
    assert "superseded" in (await job_row(conn, superseded))["error_message"]
    assert await attempts_of(conn, superseded) == [(1, 1, outcome)]


@pytest.mark.parametrize("outcome", RETURNED)
async def test_a_job_that_is_to_be_cancelled_does_not_come_back(conn: asyncpg.Connection, outcome: str) -> None:
    job = await leased(conn)
    await cancel_while_it_runs(conn, job)

    assert await settle(conn, job, outcome, now=DONE) == "cancelled"

    cancelled = await job_row(conn, job["id"])
    assert (cancelled["status"], cancelled["processed_at"], cancelled["leased_until"]) == ("cancelled", DONE, None)
    assert await attempts_of(conn, job["id"]) == [(1, 1, outcome)]


@pytest.mark.parametrize("outcome", [outcome for outcome in OUTCOMES if outcome not in RETURNED])
async def test_what_ended_before_it_was_stopped_has_ended(conn: asyncpg.Connection, outcome: str) -> None:
    job = await leased(conn)
    await cancel_while_it_runs(conn, job)

    assert await settle(conn, job, outcome) == "ok"
    assert await job_status(conn, job["id"]) == OUTCOMES[outcome]


FOLLOW_UP = {
    "job_type": "check",
    "payload": {"v": 1},
    "run_at": str(NOW + HOUR),
    "dedupe_key": "ann",
    "queue": "mails",
    "priority": 3,
    "max_attempts": 9,
}


async def of_type(conn: asyncpg.Connection, job_type: str) -> dict[str, Any]:
    """The one job of that type."""
    return await job_row(conn, UUID(str(await conn.fetchval("SELECT id FROM jobs WHERE job_type = $1", job_type))))


async def test_what_follows_waits_as_it_was_asked_for(conn: asyncpg.Connection) -> None:
    job = await leased(conn)

    await settle(conn, job, "processed", follow_ups=[FOLLOW_UP, {"job_type": "bill"}], now=DONE)

    check, bill = await of_type(conn, "check"), await of_type(conn, "bill")
    assert (check["payload"], check["run_at"], check["dedupe_key"]) == ('{"v": 1}', NOW + HOUR, "ann")
    assert (check["queue"], check["priority"], check["max_attempts"]) == ("mails", 3, 9)
    assert (bill["payload"], bill["run_at"], bill["status"]) == ("{}", DONE, "pending")
    assert (bill["queue"], bill["priority"], bill["max_attempts"]) == ("default", 1, 4)


async def test_a_job_may_be_followed_by_one_of_its_own_key(conn: asyncpg.Connection) -> None:
    job = await leased(conn, "check", p_dedupe_key="ann")

    await settle(conn, job, "processed", follow_ups=[FOLLOW_UP])

    rows = await conn.fetch("SELECT status FROM jobs ORDER BY status")
    assert [row["status"] for row in rows] == ["pending", "processed"]


@pytest.mark.parametrize("outcome", [outcome for outcome in OUTCOMES if outcome != "processed"])
async def test_nothing_follows_what_was_not_done(conn: asyncpg.Connection, outcome: str) -> None:
    job = await leased(conn)

    await settle(conn, job, outcome, follow_ups=[FOLLOW_UP])

    assert await conn.fetchval("SELECT count(*) FROM jobs") == 1


async def test_an_effect_and_its_job_are_done_together(conn: asyncpg.Connection) -> None:
    job = await leased(conn)

    async with conn.transaction():
        await conn.execute("INSERT INTO customers (ref) VALUES ('the effect')")
        await complete(conn, job, p_follow_ups=json.dumps([FOLLOW_UP]), p_now=DONE)

    assert (await job_row(conn, job["id"]))["processed_at"] == DONE
    assert await attempts_of(conn, job["id"]) == [(1, 1, "processed")]
    assert (await of_type(conn, "check"))["status"] == "pending"


async def test_an_effect_of_a_job_that_is_lost_did_not_happen(conn: asyncpg.Connection) -> None:
    lost, _ = await late(conn, "claimed by another")

    with refused("SB020", "lease_lost"):
        async with conn.transaction():
            await conn.execute("INSERT INTO customers (ref) VALUES ('the effect')")
            await complete(conn, lost)

    assert await conn.fetchval("SELECT count(*) FROM customers") == 0
    assert await job_status(conn, lost["id"]) == "processing"


async def test_a_job_is_completed_once(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    await complete(conn, job)

    with refused("SB020", "lease_lost"):
        await complete(conn, job)


async def test_a_lease_is_renewed_from_now_for_all_that_are_held(conn: asyncpg.Connection) -> None:
    for _ in range(3):
        await enqueue(conn)
    first, second, third = await claim(conn)
    await settle(conn, second, "processed")
    await cancel_while_it_runs(conn, third)

    # also one that is over, while nobody has rescued the job
    held = await extend(conn, first, second, third, lease=HOUR, now=EXPIRED)

    assert held == {first["id"]: False, third["id"]: True}
    assert (await job_row(conn, first["id"]))["leased_until"] == EXPIRED + HOUR
    assert await rescue(conn, now=EXPIRED + HOUR) == 0
    assert await rescue(conn, now=EXPIRED + HOUR + TICK) == 2


async def test_a_renewed_lease_keeps_its_token(conn: asyncpg.Connection) -> None:
    job = await leased(conn)

    await extend(conn, job, lease=LEASE + timedelta(hours=1))

    assert await settle(conn, job, "processed", now=NOW + HOUR) == "ok"


@pytest.mark.parametrize("function", ["return_job", "end_job"])
async def test_what_settling_calls_frees_no_lease_that_it_was_not_asked_to(
    conn: asyncpg.Connection, function: str
) -> None:
    job, other = await leased(conn), await leased(conn)
    outcome: dict[str, Any] = (
        {"p_outcome": "failed", "p_run_at": None} if function == "return_job" else {"p_status": "discarded"}
    )

    answer = await call_value(conn, function, p_job_id=job["id"], p_error_message="down", p_now=DONE, **outcome)

    assert answer == ("ok" if function == "return_job" else "discarded")
    assert (await job_row(conn, job["id"]))["error_message"] == "down"
    assert await job_status(conn, other["id"]) == "processing"
