"""reschedule_booking, with require_movable: the new place first, then the old one back, or nothing at all.

What the rules of a schedule have to say to a move is in test_cutoffs_and_limits.
"""

import json
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from tests.factories import HOUR, TOMORROW, Factory, change_booking, create_booking, insert_booking, make_customer
from tests.sql.support import NOBODY, refused


async def counters(conn: asyncpg.Connection, *slot_ids: UUID) -> list[int]:
    rows = {row["id"]: row["booked_bookings"] for row in await conn.fetch("SELECT * FROM slots")}
    return [rows[slot_id] for slot_id in slot_ids]


async def test_the_place_moves_and_the_job_with_it(make: Factory, conn: asyncpg.Connection) -> None:
    old, new = await make.slot(), await make.slot(starts_at=TOMORROW + 5 * HOUR)
    booking_id = await make.booking(old)

    body = json.loads((await change_booking(conn, "reschedule_booking", booking_id, 1, p_slot_id=new))["body"])

    assert (body["id"], body["slot_id"]) == (str(booking_id), str(new))
    assert await counters(conn, old, new) == [0, 1]
    (job,) = await conn.fetch("SELECT * FROM jobs WHERE status = 'pending'")
    assert job["run_at"] == job["scheduled_at"] == TOMORROW + 6 * HOUR
    assert await conn.fetchval("SELECT event FROM audit_log ORDER BY id DESC LIMIT 1") == "booking.rescheduled"


async def test_it_may_overlap_the_slot_it_leaves(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    old = await make.slot(resource_id, starts_at=TOMORROW)
    new = await make.slot(resource_id, starts_at=TOMORROW + timedelta(minutes=30))
    booking_id = await make.booking(old)

    await change_booking(conn, "reschedule_booking", booking_id, 1, p_slot_id=new)

    assert await counters(conn, old, new) == [0, 1]


async def test_a_full_slot_refuses_and_nothing_moved(make: Factory, conn: asyncpg.Connection) -> None:
    old, new = await make.slot(), await make.slot(max_bookings=1)
    booking_id = await make.booking(old)
    await make.booking(new, p_customer='{"ref": "ben"}')

    with refused("SB002", "slot_full"):
        await change_booking(conn, "reschedule_booking", booking_id, 1, p_slot_id=new)

    assert await conn.fetchval("SELECT slot_id FROM bookings WHERE id = $1", booking_id) == old
    assert await counters(conn, old, new) == [1, 1]


async def test_a_slot_that_has_begun_refuses(make: Factory, conn: asyncpg.Connection) -> None:
    old, new = await make.slot(starts_at=TOMORROW + 3 * HOUR), await make.slot(starts_at=TOMORROW)
    booking_id = await make.booking(old)

    with refused("SB004", "slot_in_past"):
        await change_booking(conn, "reschedule_booking", booking_id, 1, p_slot_id=new, p_now=TOMORROW)


async def test_a_cancelled_booking_cannot_move(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    await change_booking(conn, "cancel_booking", booking_id, 1)

    with refused("SB007", "invalid_transition"):
        await change_booking(conn, "reschedule_booking", booking_id, 2, p_slot_id=await make.slot())


async def test_a_hold_that_ended_cannot_move(make: Factory, conn: asyncpg.Connection) -> None:
    now = TOMORROW - 6 * HOUR
    row = await create_booking(conn, await make.slot(), p_payment_method="pay_now", p_now=now)

    with refused("SB013", "hold_expired"):
        await change_booking(
            conn, "reschedule_booking", row["booking_id"], 1, p_slot_id=await make.slot(), p_now=now + HOUR
        )


async def test_a_raw_move_into_the_past_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await insert_booking(conn, await make.slot(), await make_customer(conn))
    past = await make.slot(starts_at=TOMORROW - timedelta(days=9))
    await conn.execute(
        "ALTER TABLE bookings DISABLE TRIGGER bookings_guard_update; UPDATE bookings SET placed_at = '2000-01-01';"
        "ALTER TABLE bookings ENABLE TRIGGER bookings_guard_update"
    )

    with pytest.raises(asyncpg.CheckViolationError, match="bookings_not_in_past_check"):
        await conn.execute(
            """UPDATE bookings b SET slot_id = s.id, resource_id = s.resource_id,
                 starts_at = s.starts_at, ends_at = s.ends_at
            FROM slots s WHERE s.id = $1 AND b.id = $2""",
            past,
            booking_id,
        )


async def test_a_booking_that_has_begun_moves_only_by_an_admin_with_a_reason(
    make: Factory, conn: asyncpg.Connection
) -> None:
    old, new = await make.slot(starts_at=TOMORROW), await make.slot(starts_at=TOMORROW + 5 * HOUR)
    booking_id = await make.booking(old)
    move = {"p_slot_id": new, "p_now": TOMORROW + HOUR / 2}

    with refused("SB015", "too_late") as refusal:
        await change_booking(conn, "reschedule_booking", booking_id, 1, **move)
    assert refusal.detail["rule"] == "cancel_cutoff_minutes"
    await change_booking(conn, "reschedule_booking", booking_id, 1, p_reason="the rain stopped", **move)

    assert await counters(conn, old, new) == [0, 1]


async def test_an_unknown_slot_leaves_the_booking_where_it_was(make: Factory, conn: asyncpg.Connection) -> None:
    old = await make.slot()
    booking_id = await make.booking(old)

    with refused("SB001", "slot_not_found"):
        await change_booking(conn, "reschedule_booking", booking_id, 1, p_slot_id=NOBODY)

    assert await counters(conn, old) == [1]


async def test_moving_to_the_slot_it_is_in_takes_no_second_place(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=1)
    booking_id = await make.booking(slot_id)

    row = await change_booking(conn, "reschedule_booking", booking_id, 1, p_slot_id=slot_id)

    assert row["booking_version"] == 2
    assert await counters(conn, slot_id) == [1]


async def test_lapsed_holds_make_way_for_a_move(make: Factory, conn: asyncpg.Connection) -> None:
    now = TOMORROW - 6 * HOUR
    old, new = await make.slot(), await make.slot(max_bookings=1)
    await make.booking(new, p_payment_method="pay_now", p_now=now - timedelta(minutes=15))
    booking_id = await make.booking(old, p_customer='{"ref": "bob"}', p_now=now)

    await change_booking(conn, "reschedule_booking", booking_id, 1, p_slot_id=new, p_now=now)

    assert await counters(conn, old, new) == [0, 1]
