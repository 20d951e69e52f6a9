"""bookings_sync_jobs: whoever writes, a booking has the one pending job that its status asks for."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.factories import TOMORROW, Factory
from tests.sql.support import cancel, jobs_of, one, raw_booking

DUE = "SELECT scheduled_at, run_at FROM jobs WHERE status = 'pending'"
HELD: dict[str, Any] = {"p_payment_method": "pay_now"}


async def test_a_confirmed_booking_has_a_job_due_at_its_end(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(await make.slot(starts_at=TOMORROW, minutes=90))

    assert await jobs_of(conn, booking_id) == {"complete_booking": "pending"}
    assert set(await one(conn, DUE)) == {TOMORROW + timedelta(minutes=90)}


async def test_a_hold_has_a_job_due_when_it_expires(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=TOMORROW)
    booking_id = await make.booking(slot_id, p_now=TOMORROW - timedelta(hours=1), **HELD)

    assert await jobs_of(conn, booking_id) == {"expire_booking": "pending"}
    assert set(await one(conn, DUE)) == {TOMORROW - timedelta(minutes=45)}


async def test_a_raw_insert_gets_its_job_too(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await raw_booking(conn, await make.slot())

    assert await jobs_of(conn, booking_id) == {"complete_booking": "pending"}


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed", "expired", "no_show"])
async def test_a_booking_that_comes_in_as_over_has_no_job(make: Factory, conn: asyncpg.Connection, status: str) -> None:
    booking_id = await raw_booking(conn, await make.slot(), status=status)

    assert await jobs_of(conn, booking_id) == {}


async def test_paying_for_a_hold_swaps_its_job(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(**HELD)

    await conn.execute("UPDATE bookings SET status = 'confirmed', payment_status = 'paid'")

    assert await jobs_of(conn, booking_id) == {"expire_booking": "cancelled", "complete_booking": "pending"}


@pytest.mark.parametrize(
    ("status", "job"), [("completed", "processed"), ("no_show", "cancelled"), ("cancelled", "cancelled")]
)
async def test_the_job_of_a_confirmed_booking_settles_with_it(
    make: Factory, conn: asyncpg.Connection, status: str, job: str
) -> None:
    booking_id = await make.booking()

    await conn.execute("UPDATE bookings SET status = $1, updated_at = $2", status, TOMORROW)

    assert await jobs_of(conn, booking_id) == {"complete_booking": job}
    assert await one(conn, "SELECT processed_at, updated_at FROM jobs") == (TOMORROW, TOMORROW)


@pytest.mark.parametrize(
    ("status", "job"), [("expired", "processed"), ("failed", "cancelled"), ("cancelled", "cancelled")]
)
async def test_the_job_of_a_hold_settles_with_it(
    make: Factory, conn: asyncpg.Connection, status: str, job: str
) -> None:
    booking_id = await make.booking(**HELD)

    await conn.execute("UPDATE bookings SET status = $1", status)

    assert await jobs_of(conn, booking_id) == {"expire_booking": job}


async def test_what_a_job_did_stays_done_when_the_booking_goes_on(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    await conn.execute("UPDATE bookings SET status = 'completed'")

    await cancel(conn, booking_id, p_version=2)

    assert await jobs_of(conn, booking_id) == {"complete_booking": "processed"}


async def test_prolonging_a_hold_moves_its_job(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking(**HELD)

    await conn.execute("UPDATE bookings SET expires_at = $1", TOMORROW)

    assert set(await one(conn, DUE)) == {TOMORROW}
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 1


async def test_a_change_that_does_not_concern_them_leaves_the_jobs_alone(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await make.booking()
    before = await one(conn, "SELECT xmin::text, ctid::text FROM jobs")

    await conn.execute("UPDATE bookings SET metadata = '{\"seat\": 4}', payment_status = 'paid'")

    assert await one(conn, "SELECT xmin::text, ctid::text FROM jobs") == before


async def test_a_job_that_cannot_be_written_fails_the_booking(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot()
    await conn.execute("ALTER TABLE jobs ADD CONSTRAINT none CHECK (false) NOT VALID")

    with pytest.raises(asyncpg.CheckViolationError):
        await make.booking(slot_id)

    assert await conn.fetchval("SELECT count(*) FROM bookings") == 0
