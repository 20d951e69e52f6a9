"""add_slots: every given slot exists afterwards, and one that existed stays as it is."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from tests.factories import ACTOR, HOUR, TOMORROW, Factory
from tests.sql.support import NOBODY, at, call_json, one, refused, violates
from tests.sql.test_slot_rules import make_rules


def a_slot(hour: int, **overrides: Any) -> dict[str, Any]:
    start = TOMORROW + hour * HOUR
    return {"starts_at": start.isoformat(), "ends_at": (start + HOUR).isoformat(), "max_bookings": 2} | overrides


async def add(conn: asyncpg.Connection, resource_id: UUID, *slots: dict[str, Any]) -> Any:
    return await call_json(conn, "add_slots", p_actor=ACTOR, p_resource_id=resource_id, p_slots=json.dumps(slots))


async def test_the_given_slots_exist_and_are_answered_by_start(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()

    answer = await add(conn, resource_id, a_slot(2, max_units=7), a_slot(1))

    assert (answer["created"], answer["kept"]) == (2, 0)
    assert [at(slot["starts_at"]) for slot in answer["slots"]] == [TOMORROW + HOUR, TOMORROW + 2 * HOUR]
    assert [slot["max_units"] for slot in answer["slots"]] == [None, 7]
    assert await conn.fetchval("SELECT count(*) FROM slots WHERE source = 'manual'") == 2


async def test_a_repeat_changes_nothing(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    first = await add(conn, resource_id, a_slot(1), a_slot(2))

    again = await add(conn, resource_id, a_slot(1), a_slot(2))

    assert (again["created"], again["kept"], again["slots"]) == (0, 2, first["slots"])


async def test_a_slot_that_existed_keeps_its_capacity_and_its_bookings(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, starts_at=TOMORROW + HOUR, max_bookings=5)
    await make.booking(slot_id)

    answer = await add(conn, resource_id, a_slot(1, max_bookings=1), a_slot(2))

    assert (answer["created"], answer["kept"]) == (1, 1)
    assert await one(conn, "SELECT max_bookings, booked_bookings FROM slots WHERE id = $1", slot_id) == (5, 1)


async def test_a_slot_given_twice_is_one_slot(make: Factory, conn: asyncpg.Connection) -> None:
    answer = await add(conn, await make.resource(), a_slot(1), a_slot(1, max_bookings=9))

    assert (answer["created"], answer["kept"], len(answer["slots"])) == (1, 1, 1)


async def test_the_same_times_of_two_resources_are_two_slots(make: Factory, conn: asyncpg.Connection) -> None:
    await add(conn, await make.resource(), a_slot(1))

    answer = await add(conn, await make.resource(), a_slot(1))

    assert (answer["created"], len(answer["slots"])) == (1, 1)


async def test_a_slot_that_ends_before_it_starts_brings_nothing_in(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    backwards = a_slot(1, ends_at=(TOMORROW - timedelta(hours=1)).isoformat())

    with violates("slots_interval_check"):
        await add(conn, resource_id, a_slot(2), backwards)

    assert await conn.fetchval("SELECT count(*) FROM slots") == 0


async def test_an_unknown_resource_is_not_found(conn: asyncpg.Connection) -> None:
    with refused("SB009", "resource_not_found"):
        await add(conn, NOBODY, a_slot(1))


async def test_the_trail_names_who_added_them(make: Factory, conn: asyncpg.Connection) -> None:
    await add(conn, await make.resource(), a_slot(1))

    query = "SELECT performed_by, performed_by_id FROM audit_log WHERE event = 'slot.created'"
    assert await one(conn, query) == ("admin", "tester")


async def test_a_slot_that_became_legacy_is_kept_and_said_to_be_closed(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await add(conn, resource_id, a_slot(1))
    await conn.execute("UPDATE slots SET is_legacy = true")

    answer = await add(conn, resource_id, a_slot(1), a_slot(2))

    assert (answer["created"], answer["kept"]) == (1, 1)
    assert [slot["reason"] for slot in answer["slots"]] == ["closed", None]


async def test_times_are_answered_in_utc(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource(timezone="Asia/Kathmandu")
    slot = {"starts_at": "2030-06-03T12:00:00+02:00", "ends_at": "2030-06-03T13:00:00+02:00", "max_bookings": 1}

    answer = await add(conn, resource_id, slot)

    assert answer["slots"][0]["starts_at"] == "2030-06-03T10:00:00+00:00"


async def test_a_given_slot_is_answered_by_the_rules_of_its_resource(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make_rules(conn, resource_id, booking_window_days=0)
    slot = {"starts_at": "2030-06-03T12:00:00+00:00", "ends_at": "2030-06-03T13:00:00+00:00", "max_bookings": 1}

    answer = await add(conn, resource_id, slot)

    assert (answer["slots"][0]["reason"], answer["slots"][0]["opens_at"]) == ("not_open", "2030-06-03T00:00:00+00:00")
