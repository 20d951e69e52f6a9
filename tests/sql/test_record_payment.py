"""record_payment, with require_payment_step and require_place: where money leads, and when it comes too late."""

import json
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from tests.factories import TOMORROW, Factory, change_booking, create_booking
from tests.sql.support import refused

NOW = TOMORROW - timedelta(hours=6)
HOLD = timedelta(minutes=15)


async def hold(conn: asyncpg.Connection, slot_id: UUID) -> UUID:
    row = await create_booking(conn, slot_id, p_payment_method="pay_now", p_now=NOW)
    return UUID(str(row["booking_id"]))


async def pay(
    conn: asyncpg.Connection, booking_id: UUID, status: str = "paid", *, version: int = 1, after: timedelta = HOLD / 2
) -> dict[str, object]:
    row = await change_booking(conn, "record_payment", booking_id, version, p_payment_status=status, p_now=NOW + after)
    body: dict[str, object] = json.loads(row["body"])
    return body


async def pending_jobs(conn: asyncpg.Connection) -> list[str]:
    return [row["job_type"] for row in await conn.fetch("SELECT job_type FROM jobs WHERE status = 'pending'")]


async def test_paid_confirms_a_hold(make: Factory, conn: asyncpg.Connection) -> None:
    booking = await pay(conn, await hold(conn, await make.slot()))

    assert (booking["status"], booking["payment_status"], booking["expires_at"]) == ("confirmed", "paid", None)
    assert await pending_jobs(conn) == ["complete_booking"]


async def test_failed_ends_a_hold_and_frees_its_place(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot()
    booking = await pay(conn, await hold(conn, slot_id), "failed")

    assert (booking["status"], booking["payment_status"]) == ("failed", "failed")
    assert await pending_jobs(conn) == []
    await make.booking(slot_id)


async def test_paid_on_arrival_keeps_the_booking_as_it_is(make: Factory, conn: asyncpg.Connection) -> None:
    booking = await pay(conn, await make.booking())

    assert (booking["status"], booking["payment_status"]) == ("confirmed", "paid")


async def test_refunded_follows_paid(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await hold(conn, await make.slot())
    await pay(conn, booking_id)

    booking = await pay(conn, booking_id, "refunded", version=2)

    assert (booking["status"], booking["payment_status"]) == ("confirmed", "refunded")


async def test_late_money_confirms_while_nobody_took_the_place(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await hold(conn, await make.slot())

    booking = await pay(conn, booking_id, after=2 * HOLD)

    assert booking["status"] == "confirmed"


async def test_late_money_takes_a_freed_place_again(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await hold(conn, await make.slot())
    await conn.execute("SELECT expire_due_bookings('{}', 10, $1)", NOW + HOLD)
    assert await conn.fetchval("SELECT booked_bookings FROM slots") == 0

    booking = await pay(conn, booking_id, version=2, after=2 * HOLD)

    assert booking["status"] == "confirmed"
    assert await conn.fetchval("SELECT booked_bookings FROM slots") == 1


async def test_late_money_for_a_taken_place_is_told_so(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=1)
    booking_id = await hold(conn, slot_id)
    await create_booking(conn, slot_id, p_customer='{"ref": "ben"}', p_now=NOW + HOLD)

    with refused("SB013", "hold_expired") as refusal:
        await pay(conn, booking_id, version=2, after=2 * HOLD)

    facts = refusal.detail
    assert (facts["booking_id"], facts["reason"]) == (str(booking_id), "slot_full")
    assert await conn.fetchval("SELECT payment_status FROM bookings WHERE id = $1", booking_id) == "pending"


@pytest.mark.parametrize("step", ["failed", "refunded"])
async def test_a_step_that_money_cannot_take_is_refused(make: Factory, conn: asyncpg.Connection, step: str) -> None:
    booking_id = await make.booking()

    with refused("SB007", "invalid_transition") as refusal:
        await pay(conn, booking_id, step)

    assert refusal.detail["to"] == step


async def test_money_for_a_cancelled_booking_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await hold(conn, await make.slot())
    await change_booking(conn, "cancel_booking", booking_id, 1)

    with refused("SB007", "invalid_transition"):
        await pay(conn, booking_id, version=2)
