"""require_open_slot without rules of a schedule, and require_room: the first barrier, asked about a slot directly."""

from datetime import timedelta

import asyncpg
import pytest

from tests.factories import ACTOR, TOMORROW, Factory
from tests.sql.support import TICK, refused

OPEN = f"SELECT require_open_slot('{ACTOR}', s, $1) FROM slots s"
ROOM = "SELECT require_room(s, $1, $2, $3) FROM slots s"


async def test_a_slot_is_open_until_the_instant_it_starts(make: Factory, conn: asyncpg.Connection) -> None:
    await make.slot(starts_at=TOMORROW)

    await conn.execute(OPEN, TOMORROW - TICK)
    with refused("SB004", "slot_in_past"):
        await conn.execute(OPEN, TOMORROW)


async def test_a_legacy_slot_is_closed(make: Factory, conn: asyncpg.Connection) -> None:
    await make.slot(starts_at=TOMORROW)
    await conn.execute("UPDATE slots SET is_legacy = true")

    with refused("SB003", "slot_closed"):
        await conn.execute(OPEN, TOMORROW - TICK)


@pytest.mark.parametrize(
    ("max_units", "units", "sqlstate", "slug"),
    [
        (None, 10_000, None, None),
        (5, 3, None, None),
        (5, 4, "SB008", "insufficient_units"),
        (2, 1, "SB002", "slot_full"),
    ],
)
async def test_room_is_places_and_units(
    make: Factory, conn: asyncpg.Connection, max_units: int | None, units: int, sqlstate: str | None, slug: str
) -> None:
    await make.booking(await make.slot(max_bookings=2, max_units=max_units), p_units=2)

    if sqlstate is None:
        await conn.execute(ROOM, units, 1, TOMORROW)
    else:
        with refused(sqlstate, slug) as refusal:
            await conn.execute(ROOM, units, 1, TOMORROW)
        assert refusal.detail["remaining_bookings"] == 1


async def test_lapsed_holds_make_room_for_as_many_units_as_they_held(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=TOMORROW + timedelta(days=1), max_bookings=3, max_units=6)
    held_at = TOMORROW - timedelta(minutes=15)
    await make.booking(slot_id, p_units=4, p_payment_method="pay_now", p_now=held_at)
    await make.booking(slot_id, p_units=1)

    with refused("SB008", "insufficient_units") as refusal:
        await conn.execute(ROOM, 5, 1, TOMORROW - TICK)
    assert refusal.detail["remaining_units"] == 1
    await conn.execute(ROOM, 5, 1, TOMORROW)

    assert await conn.fetchval("SELECT booked_units FROM slots") == 1


@pytest.mark.parametrize(
    ("bookings", "units", "sqlstate", "slug"),
    [(2, 5, None, None), (3, 3, "SB002", "slot_full"), (2, 6, "SB008", "insufficient_units")],
)
async def test_room_for_several_bookings_is_asked_for_at_once(
    make: Factory, conn: asyncpg.Connection, bookings: int, units: int, sqlstate: str | None, slug: str
) -> None:
    await make.booking(await make.slot(max_bookings=3, max_units=6))

    if sqlstate is None:
        await conn.execute(ROOM, units, bookings, TOMORROW)
    else:
        with refused(sqlstate, slug) as refusal:
            await conn.execute(ROOM, units, bookings, TOMORROW)
        assert (refusal.detail["remaining_bookings"], refusal.detail["remaining_units"]) == (2, 5)


async def test_lapsed_holds_make_room_for_as_many_bookings_as_they_were(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(starts_at=TOMORROW + timedelta(days=1), max_bookings=3)
    for minutes in (15, 14):
        held_at = TOMORROW - timedelta(minutes=minutes)
        await make.booking(slot_id, p_payment_method="pay_now", p_now=held_at)

    with refused("SB002", "slot_full"):
        await conn.execute(ROOM, 1, 3, TOMORROW)
    await conn.execute(ROOM, 1, 3, TOMORROW + timedelta(minutes=1))

    assert await conn.fetchval("SELECT booked_bookings FROM slots") == 0
