"""complete_jobs: what settle_jobs makes of a job that was done and has nothing to say."""

import asyncpg
import pytest

from tests.sql.jobs import (
    HOUR,
    NOW,
    SECOND,
    WAYS_TO_LOSE,
    attempts_of,
    claim_one,
    extend,
    job_row,
    late,
    leased,
    settle,
    settle_tokens,
    settlement,
)
from tests.sql.support import NOBODY, call

DONE = NOW + SECOND
# in what two jobs differ that went the same way
OF_ITS_OWN = {"id", "seq", "dedupe_key"}


async def complete(conn: asyncpg.Connection, *jobs: asyncpg.Record) -> list[tuple[object, int]]:
    """The leases that complete_jobs says were lost."""
    rows = await call(
        conn,
        "complete_jobs",
        p_job_ids=[job["id"] for job in jobs],
        p_lease_tokens=[job["lease_token"] for job in jobs],
        p_now=DONE,
    )
    return [tuple(row) for row in rows]


async def test_a_job_becomes_what_settling_it_makes_of_it(conn: asyncpg.Connection) -> None:
    settled, completed = await leased(conn), await leased(conn)

    assert await settle(conn, settled, "processed", now=DONE) == "ok"
    assert await complete(conn, completed) == []

    rows = [await job_row(conn, job["id"]) for job in (settled, completed)]
    assert [row["status"] for row in rows] == ["processed"] * 2
    for name in set(rows[0].keys()) - OF_ITS_OWN:
        assert rows[0][name] == rows[1][name], name
    assert await attempts_of(conn, settled["id"]) == await attempts_of(conn, completed["id"])


async def test_an_error_of_an_earlier_attempt_does_not_stay(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    await settle(conn, job, "snoozed", run_at=str(NOW), error_message="not yet")
    await conn.execute("UPDATE jobs SET error_message = 'not yet'")
    job = await claim_one(conn)

    assert await complete(conn, job) == []

    assert (await job_row(conn, job["id"]))["error_message"] is None


@pytest.mark.parametrize("way", WAYS_TO_LOSE)
async def test_who_has_lost_a_job_changes_nothing_of_it(conn: asyncpg.Connection, way: str) -> None:
    lost, _ = await late(conn, way)
    other = await leased(conn, p_queue="mails")
    before = await job_row(conn, lost["id"]), await attempts_of(conn, lost["id"])

    assert await complete(conn, lost, other) == [(lost["id"], lost["lease_token"])]

    assert (await job_row(conn, lost["id"]), await attempts_of(conn, lost["id"])) == before
    assert (await job_row(conn, other["id"]))["status"] == "processed"


async def test_of_two_tokens_of_a_job_only_the_present_one_counts(conn: asyncpg.Connection) -> None:
    lost, held = await late(conn, "claimed by another")
    assert held

    assert await complete(conn, lost, held) == [(lost["id"], lost["lease_token"])]

    assert (await job_row(conn, held["id"]))["status"] == "processed"


async def test_a_job_that_nobody_knows_is_lost_and_nothing_is_nothing(conn: asyncpg.Connection) -> None:
    rows = await call(conn, "complete_jobs", p_job_ids=[NOBODY], p_lease_tokens=[1])

    assert [tuple(row) for row in rows] == [(NOBODY, 1)]
    assert await complete(conn) == []


async def test_what_was_completed_is_over_for_everyone(conn: asyncpg.Connection) -> None:
    job = await leased(conn)
    await complete(conn, job)

    assert await complete(conn, job) == [(job["id"], job["lease_token"])]
    assert await extend(conn, job) == {}
    assert await settle_tokens(conn, [settlement(job, "failed")], NOW + HOUR) == {
        (job["id"], job["lease_token"]): "stale"
    }
