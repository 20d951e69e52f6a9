"""confirm_booking and mark_no_show: what an admin settles by hand."""

import json
from datetime import timedelta

import asyncpg
import pytest

from tests.factories import HOUR, TOMORROW, Factory, change_booking, create_booking
from tests.sql.support import refused

NOW = TOMORROW - timedelta(hours=6)


async def test_a_hold_may_be_confirmed_unpaid(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(p_payment_method="pay_now")

    body = json.loads((await change_booking(conn, "confirm_booking", booking_id, 1, p_reason="regular"))["body"])

    assert (body["status"], body["payment_status"], body["expires_at"]) == ("confirmed", "pending", None)
    assert await conn.fetchval("SELECT reason FROM audit_log ORDER BY id DESC LIMIT 1") == "regular"


async def test_an_expired_hold_whose_place_is_taken_stays_expired(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=1)
    row = await create_booking(conn, slot_id, p_payment_method="pay_now", p_now=NOW)
    await create_booking(conn, slot_id, p_customer='{"ref": "ben"}', p_now=NOW + HOUR)

    with refused("SB013", "hold_expired"):
        await change_booking(conn, "confirm_booking", row["booking_id"], 2, p_now=NOW + HOUR)


async def test_a_confirmed_booking_is_not_confirmed_twice(make: Factory, conn: asyncpg.Connection) -> None:
    with refused("SB007", "invalid_transition"):
        await change_booking(conn, "confirm_booking", await make.booking(), 1)


@pytest.mark.parametrize("completed", [False, True])
async def test_a_no_show_keeps_its_place_and_has_no_job_left(
    make: Factory, conn: asyncpg.Connection, completed: bool
) -> None:
    booking_id = await make.booking(await make.slot(starts_at=TOMORROW))
    after = TOMORROW + 2 * HOUR
    if completed:
        await conn.execute("SELECT complete_due_bookings('{}', 10, $1)", after)

    await change_booking(conn, "mark_no_show", booking_id, 1 + completed, p_now=after)

    assert await conn.fetchval("SELECT status FROM bookings") == "no_show"
    assert await conn.fetchval("SELECT booked_bookings FROM slots") == 1
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE status = 'pending'") == 0


async def test_nobody_fails_to_show_before_the_slot_begins(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(await make.slot(starts_at=TOMORROW))

    with refused("SB014", "too_early"):
        await change_booking(conn, "mark_no_show", booking_id, 1, p_now=TOMORROW - timedelta(seconds=1))
