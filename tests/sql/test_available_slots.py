"""available_slots and slot_json: what is free, what is left of it, and why not, in whichever zone."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import TOMORROW, Factory
from tests.sql.support import NOBODY, TICK, at, call_json, refused

DAY = timedelta(days=1)
BEFORE = TOMORROW - DAY


async def available(conn: asyncpg.Connection, resource_id: UUID, **overrides: Any) -> Any:
    arguments = {"p_resource_id": resource_id, "p_from": BEFORE, "p_to": TOMORROW + 99 * DAY, "p_now": BEFORE}
    return await call_json(conn, "available_slots", **(arguments | overrides))


async def the_slot(conn: asyncpg.Connection, resource_id: UUID, **overrides: Any) -> Any:
    (slot,) = (await available(conn, resource_id, **overrides))["slots"]
    return slot


async def test_a_free_slot_says_what_is_left_of_it(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, starts_at=TOMORROW, max_bookings=3, max_units=10)
    await make.booking(slot_id, p_units=4)

    slot = await the_slot(conn, resource_id)

    times = (slot.pop("starts_at"), slot.pop("ends_at"))
    assert [at(time) for time in times] == [TOMORROW, TOMORROW + timedelta(hours=1)]
    assert slot == {
        "id": str(slot_id),
        "max_bookings": 3,
        "max_units": 10,
        "remaining_bookings": 2,
        "remaining_units": 6,
        "available": True,
        "reason": None,
        "opens_at": None,
    }


async def test_the_range_takes_its_first_instant_and_leaves_its_last(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    for days in (0, 1, 2):
        await make.slot(resource_id, starts_at=TOMORROW + days * DAY)

    found = (await available(conn, resource_id, p_from=TOMORROW, p_to=TOMORROW + 2 * DAY))["slots"]
    barely = (await available(conn, resource_id, p_from=TOMORROW + TICK, p_to=TOMORROW + 2 * DAY + TICK))["slots"]

    assert [at(slot["starts_at"]) for slot in found] == [TOMORROW, TOMORROW + DAY]
    assert [at(slot["starts_at"]) for slot in barely] == [TOMORROW + DAY, TOMORROW + 2 * DAY]


async def test_slots_come_by_start_and_only_the_resources_own(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    late = await make.slot(resource_id, starts_at=TOMORROW + DAY)
    early = await make.slot(resource_id, starts_at=TOMORROW)
    await make.slot(starts_at=TOMORROW)

    found = (await available(conn, resource_id))["slots"]

    assert [slot["id"] for slot in found] == [str(early), str(late)]


async def test_a_legacy_slot_is_never_listed(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id)
    await conn.execute("UPDATE slots SET is_legacy = true")

    assert (await available(conn, resource_id))["slots"] == []


async def test_a_slot_without_places_is_full(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make.booking(await make.slot(resource_id, max_bookings=1))

    slot = await the_slot(conn, resource_id)

    assert (slot["available"], slot["reason"], slot["remaining_bookings"]) == (False, "full", 0)
    assert slot["remaining_units"] is None


async def test_a_slot_with_too_few_units_is_full_for_that_many(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make.booking(await make.slot(resource_id, max_bookings=9, max_units=5), p_units=2)

    assert (await the_slot(conn, resource_id, p_units=3))["available"]
    assert (await the_slot(conn, resource_id, p_units=4))["reason"] == "full"


async def test_a_slot_that_has_begun_is_past_full_or_not(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make.booking(await make.slot(resource_id, starts_at=TOMORROW, max_bookings=1))

    assert (await the_slot(conn, resource_id, p_now=TOMORROW - TICK))["reason"] == "full"
    assert (await the_slot(conn, resource_id, p_now=TOMORROW))["reason"] == "past"


@pytest.mark.parametrize(
    ("timezone", "starts_at", "shown"),
    [
        # the night the clocks go forward, then the night they go back
        ("Europe/Athens", "2027-03-28T00:00", "2027-03-28T02:00:00+02:00"),
        ("Europe/Athens", "2027-03-28T01:00", "2027-03-28T04:00:00+03:00"),
        ("Europe/Athens", "2026-10-25T00:30", "2026-10-25T03:30:00+03:00"),
        ("Europe/Athens", "2026-10-25T01:30", "2026-10-25T03:30:00+02:00"),
        ("Asia/Kathmandu", "2026-10-25T01:30", "2026-10-25T07:15:00+05:45"),
        ("America/St_Johns", "2026-01-05T12:00", "2026-01-05T08:30:00-03:30"),
        ("UTC", "2026-10-25T01:30", "2026-10-25T01:30:00+00:00"),
    ],
)
async def test_times_carry_the_offset_of_their_own_date(
    make: Factory, conn: asyncpg.Connection, timezone: str, starts_at: str, shown: str
) -> None:
    resource_id = await make.resource(timezone=timezone)
    start = at(starts_at)
    await make.slot(resource_id, starts_at=start)

    answer = await available(conn, resource_id, p_from=start, p_to=start + DAY)

    assert (answer["timezone"], answer["slots"][0]["starts_at"]) == (timezone, shown)


async def test_the_caller_may_ask_for_another_zone(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource(timezone="Europe/Athens")
    start = at("2026-07-01T12:00")
    await make.slot(resource_id, starts_at=start)

    answer = await available(conn, resource_id, p_from=start, p_to=start + DAY, p_tz="America/New_York")

    assert (answer["timezone"], answer["slots"][0]["starts_at"]) == ("America/New_York", "2026-07-01T08:00:00-04:00")


async def test_the_sessions_own_zone_is_left_as_it_was(make: Factory, conn: asyncpg.Connection) -> None:
    await conn.execute("SET TimeZone TO 'Asia/Tokyo'")

    await available(conn, await make.resource(timezone="Europe/Athens"))

    assert await conn.fetchval("SHOW TimeZone") == "Asia/Tokyo"


async def test_an_unknown_zone_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()

    with refused("22023"):
        await available(conn, resource_id, p_tz="Mars/Olympus")


async def test_an_unknown_resource_is_not_found(conn: asyncpg.Connection) -> None:
    with refused("SB009", "resource_not_found") as refusal:
        await available(conn, NOBODY)

    assert refusal.detail == {"resource_id": str(NOBODY)}


async def test_a_resource_without_slots_has_an_empty_list(make: Factory, conn: asyncpg.Connection) -> None:
    assert (await available(conn, await make.resource()))["slots"] == []
