"""/cron/process-jobs: what an external cron calls, as often as it likes."""

import asyncio

import asyncpg
import httpx2
import pytest

from tests.api.calls import assert_problem
from tests.factories import Factory

REPORT = {
    *("instance_id", "claimed", "processed", "retried", "skipped", "discarded", "released", "rescued"),
    *("cancelled", "stale", "failed_sweeps", "remaining_due", "oldest_due_age_ms", "elapsed_ms", "budget_exhausted"),
}
PAST = "now() - interval '1 hour'"


async def statuses(conn: asyncpg.Connection) -> dict[str, int]:
    return {row[0]: row[1] for row in await conn.fetch("SELECT status, count(*) FROM bookings GROUP BY 1")}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_run_does_what_is_due_and_reports_it(
    cron: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, method: str
) -> None:
    await make.ended_bookings(3)
    await make.booking()

    answer = await cron.request(method, "/cron/process-jobs")

    report = answer.json()
    assert answer.status_code == 200
    assert report.keys() == REPORT
    assert (report["claimed"], report["processed"], report["remaining_due"]) == (3, 3, 0)
    assert (report["oldest_due_age_ms"], report["budget_exhausted"]) == (0, False)
    assert await statuses(conn) == {"completed": 3, "confirmed": 1}


async def test_a_run_expires_holds_and_frees_their_places(
    cron: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    await make.booking(p_payment_method="pay_now")
    await conn.execute(f"UPDATE bookings SET expires_at = {PAST}")

    assert (await cron.post("/cron/process-jobs")).json()["processed"] == 1

    assert await statuses(conn) == {"expired": 1}
    assert await conn.fetchval("SELECT booked_bookings FROM slots") == 0


async def test_a_run_with_nothing_due_does_nothing(cron: httpx2.AsyncClient, make: Factory) -> None:
    await make.booking()

    report = (await cron.post("/cron/process-jobs")).json()

    assert (report["processed"], report["remaining_due"], report["oldest_due_age_ms"]) == (0, 0, 0)


async def test_runs_that_overlap_do_each_job_once(
    cron: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    await make.ended_bookings(40)

    answers = await asyncio.gather(*(cron.post("/cron/process-jobs") for _ in range(8)))

    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.json()["instance_id"] for answer in answers}) == 8
    assert sum(answer.json()["processed"] for answer in answers) == 40
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE event = 'booking.completed'") == 40


async def test_what_somebody_holds_is_left_for_the_next_run_and_reported(
    cron: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    await make.ended_bookings(3)

    async with conn.transaction():
        await conn.execute("SELECT FROM bookings LIMIT 1 FOR UPDATE")
        report = (await cron.post("/cron/process-jobs")).json()

    assert (report["processed"], report["remaining_due"]) == (2, 1)
    assert report["oldest_due_age_ms"] >= 3_600_000
    assert (await cron.post("/cron/process-jobs")).json()["processed"] == 1


async def test_idempotency_keys_are_forgotten_after_three_days(
    cron: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    for key, age in (("old", "73 hours"), ("young", "71 hours")):
        await conn.execute(
            "INSERT INTO idempotency_keys VALUES ('p', 'create_booking', $1, '', '{}', now() - $2::text::interval)",
            key,
            age,
        )

    await cron.post("/cron/process-jobs")

    assert [row["key"] for row in await conn.fetch("SELECT key FROM idempotency_keys")] == ["young"]


async def test_a_stranger_starts_nothing(
    public: httpx2.AsyncClient, frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    await make.ended_bookings()

    assert_problem(await public.get("/cron/process-jobs"), 401, "unauthorized")
    assert_problem(await frontend.post("/cron/process-jobs"), 403, "forbidden")

    assert await statuses(conn) == {"confirmed": 1}
