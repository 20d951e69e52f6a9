"""Bookings of long ago: no rule about "not in the past" stands in the way of what still happens to them."""

from datetime import UTC, datetime, timedelta

import asyncpg

from tests.factories import SYSTEM, Factory
from tests.sql.support import call_json, call_value, cancel, jobs_of, occupancy, status_of

LONG_AGO = datetime.now(UTC) - timedelta(days=400)
PLACED = LONG_AGO - timedelta(days=1)


async def test_it_completes(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(await make.slot(starts_at=LONG_AGO), p_now=PLACED)

    assert await call_value(conn, "complete_due_bookings", p_actor=SYSTEM, p_limit=10) == 1

    assert await status_of(conn, booking_id) == "completed"
    assert await jobs_of(conn, booking_id) == {"complete_booking": "processed"}


async def test_an_admin_with_a_reason_can_cancel_it_before_and_after_it_completed(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(starts_at=LONG_AGO, max_bookings=2)
    running, completed = [await make.booking(slot_id, p_now=PLACED) for _ in range(2)]
    await conn.execute("UPDATE bookings SET status = 'completed' WHERE id = $1", completed)

    await cancel(conn, running, p_reason="rain")
    await cancel(conn, completed, p_version=2, p_reason="rain")

    assert [await status_of(conn, running), await status_of(conn, completed)] == ["cancelled", "cancelled"]
    assert await occupancy(conn, slot_id) == (0, 0)


async def test_its_hold_expires(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(await make.slot(starts_at=LONG_AGO), p_payment_method="pay_now", p_now=PLACED)

    assert await call_value(conn, "expire_due_bookings", p_actor=SYSTEM, p_limit=10) == 1

    assert await status_of(conn, booking_id) == "expired"


async def test_it_can_be_amended_and_everything_is_on_record(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(await make.slot(starts_at=LONG_AGO), p_now=PLACED)
    await conn.execute("UPDATE bookings SET metadata = '{\"seat\": 4}', payment_status = 'paid'")
    await call_value(conn, "complete_due_bookings", p_actor=SYSTEM, p_limit=10)
    await cancel(conn, booking_id, p_version=3, p_reason="rain")

    history = (await call_json(conn, "booking_history", p_booking_id=booking_id))["items"]

    assert [entry["action_type"] for entry in history] == ["created", "modified", "completed", "cancelled"]
    assert [entry["performed_by"] for entry in history] == ["admin", "database", "system", "admin"]


async def test_its_slots_other_columns_can_change(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking(await make.slot(starts_at=LONG_AGO), p_now=PLACED)

    await conn.execute("UPDATE slots SET is_legacy = true, max_bookings = 5")

    assert await conn.fetchval("SELECT max_bookings FROM slots WHERE is_legacy") == 5
