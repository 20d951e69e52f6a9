"""cancel_booking: the place is free again and the booking stays on record, or nothing changed."""

import json

import asyncpg
import pytest

from tests.factories import TOMORROW, Factory
from tests.sql.support import NOBODY, at, cancel, occupancy, refused, status_of

KEY = {"p_idempotency_key": "k", "p_request_hash": b"same"}


async def test_cancelling_frees_the_place_and_the_units(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=1, max_units=5)
    booking_id = await make.booking(slot_id, p_units=5)

    row = await cancel(conn, booking_id, p_now=TOMORROW)

    body = json.loads(row["body"])
    assert (row["booking_id"], row["booking_version"], row["replayed"]) == (booking_id, 2, False)
    assert (body["status"], body["version"], body["customer_ref"]) == ("cancelled", 2, "ann")
    assert at(body["updated_at"]) == TOMORROW
    assert await occupancy(conn, slot_id) == (0, 0)
    await make.booking(slot_id, p_units=5)


@pytest.mark.parametrize("version", [1, 3])
async def test_another_version_changes_nothing_and_names_the_current_one(
    make: Factory, conn: asyncpg.Connection, version: int
) -> None:
    booking_id = await make.booking()
    await conn.execute("UPDATE bookings SET metadata = '{\"seat\": 4}'")

    with refused("SB006", "version_conflict") as refusal:
        await cancel(conn, booking_id, p_version=version)

    assert refusal.detail == {"booking_id": str(booking_id), "current_version": 2}
    assert await status_of(conn, booking_id) == "confirmed"


async def test_an_unknown_booking_is_not_found(conn: asyncpg.Connection) -> None:
    with refused("SB005", "booking_not_found"):
        await cancel(conn, NOBODY)


async def test_a_booking_is_cancelled_once(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    await cancel(conn, booking_id)

    with refused("SB007", "invalid_transition") as refusal:
        await cancel(conn, booking_id, p_version=2)

    assert refusal.detail == {"booking_id": str(booking_id), "from": "cancelled", "to": "cancelled"}


async def test_a_completed_booking_can_still_be_cancelled(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot()
    booking_id = await make.booking(slot_id)
    await conn.execute("UPDATE bookings SET status = 'completed'")

    await cancel(conn, booking_id, p_version=2)

    assert await occupancy(conn, slot_id) == (0, 0)


async def test_the_reason_is_kept_in_the_trail(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()

    await cancel(conn, booking_id, p_reason="rain: all day")

    assert await conn.fetchval("SELECT reason FROM audit_log WHERE event = 'booking.cancelled'") == "rain: all day"


async def test_a_repeat_with_the_same_key_gets_the_first_answer(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()

    first = await cancel(conn, booking_id, **KEY)
    again = await cancel(conn, booking_id, **KEY)

    assert (again["replayed"], again["body"]) == (True, first["body"])
    assert (again["booking_id"], again["booking_version"]) == (booking_id, 2)
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE event = 'booking.cancelled'") == 1


async def test_a_key_does_not_serve_two_different_cancellations(make: Factory, conn: asyncpg.Connection) -> None:
    one, other = await make.booking(), await make.booking()
    await cancel(conn, one, p_idempotency_key="k", p_request_hash=b"one")

    with refused("SB010", "idempotency_conflict"):
        await cancel(conn, other, p_idempotency_key="k", p_request_hash=b"other")

    assert await status_of(conn, other) == "confirmed"


async def test_a_refused_cancellation_leaves_its_key_free(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    with refused("SB006", "version_conflict"):
        await cancel(conn, booking_id, p_version=7, **KEY)

    row = await cancel(conn, booking_id, **KEY)

    assert (row["replayed"], row["booking_version"]) == (False, 2)
