"""bookings_guard_update and require_transition: a status takes listed steps only, and every change is a new version."""

from itertools import permutations

import asyncpg
import pytest

from tests.factories import Factory
from tests.sql.support import NOBODY, call, one, raw_booking, refused, status_of

STATUSES = ("pending", "confirmed", "completed", "cancelled", "failed", "expired", "no_show")
STEPS = {
    ("pending", "confirmed"),
    ("pending", "cancelled"),
    ("pending", "expired"),
    ("pending", "failed"),
    ("confirmed", "completed"),
    ("confirmed", "cancelled"),
    ("confirmed", "no_show"),
    ("completed", "no_show"),
    ("completed", "cancelled"),
    ("expired", "confirmed"),
}


async def test_the_listed_steps_are_these(conn: asyncpg.Connection) -> None:
    rows = await conn.fetch("SELECT from_status, to_status FROM booking_transitions")

    assert {tuple(row) for row in rows} == STEPS


async def test_every_listed_step_is_taken_and_every_other_refused(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=100)
    expires_at = await conn.fetchval("SELECT starts_at FROM slots")

    for before, after in permutations(STATUSES, 2):
        booking_id = await raw_booking(conn, slot_id, status=before, expires_at=expires_at)
        if (before, after) in STEPS:
            await conn.execute("UPDATE bookings SET status = $2 WHERE id = $1", booking_id, after)
            assert await status_of(conn, booking_id) == after
        else:
            with refused("SB007", "invalid_transition") as refusal:
                await conn.execute("UPDATE bookings SET status = $2 WHERE id = $1", booking_id, after)
            assert refusal.detail == {"booking_id": str(booking_id), "from": before, "to": after}
            assert await status_of(conn, booking_id) == before


@pytest.mark.parametrize("status", ["confirmed", "cancelled"])
async def test_staying_put_is_no_step_for_a_writer_but_is_refused_as_one(
    make: Factory, conn: asyncpg.Connection, status: str
) -> None:
    await raw_booking(conn, await make.slot(), status=status)

    await conn.execute("UPDATE bookings SET status = status, metadata = '{\"seat\": 4}'")

    with refused("SB007", "invalid_transition"):
        await call(conn, "require_transition", p_booking_id=NOBODY, p_from=status, p_to=status)


async def test_every_change_is_a_new_version_whatever_the_writer_says(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()

    await conn.execute("UPDATE bookings SET metadata = '{\"seat\": 4}'")
    await conn.execute("UPDATE bookings SET version = 99")

    assert await one(conn, "SELECT version FROM bookings") == (3,)
