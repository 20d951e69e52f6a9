"""Prebookings at a resource of ours: who made one first goes first, and newcomers wait for their turn."""

import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import ACTOR, HOUR, Factory
from tests.sql.schedules import put_schedule
from tests.sql.support import at, call_json, call_row, one

MONDAY = at("2030-06-03T00:00")
OPENS = at("2030-06-03T05:00")
EARLIER = OPENS - HOUR
TEN = "2030-06-10T10:00"
ELEVEN = "2030-06-10T11:00"
# a week ahead, at eight in the morning of the resource's zone
RULES: dict[str, Any] = {
    "slot_minutes": 60,
    "max_bookings": 2,
    "weekly": [{"weekday": day, "opens": "09:00", "closes": "18:00"} for day in range(1, 8)],
    "horizon_days": 14,
    "booking_window_days": 7,
    "opens_at_local": "08:00",
}


async def prebook(
    conn: asyncpg.Connection, resource_id: UUID, ref: str, *times: str, now: Any = EARLIER, **overrides: Any
) -> dict[str, Any]:
    row = await call_row(
        conn,
        "create_prebooking",
        p_actor=ACTOR,
        p_resource_id=resource_id,
        p_provider=None,
        p_targets=json.dumps([{"starts_at_local": time} for time in times or (TEN,)]),
        p_customer=json.dumps({"ref": ref}),
        p_now=now,
        **overrides,
    )
    made: dict[str, Any] = json.loads(row["body"])
    return made


async def run(conn: asyncpg.Connection, resource_id: UUID, *, limit: int = 100, now: Any = OPENS) -> tuple[int, ...]:
    row = await call_row(conn, "run_openings", p_actor=ACTOR, p_resource_id=resource_id, p_limit=limit, p_now=now)
    return tuple(row)


async def read(conn: asyncpg.Connection, prebooking: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = await call_json(conn, "get_prebooking", p_prebooking_id=UUID(prebooking["id"]))
    return found


@pytest.fixture
async def pitch(conn: asyncpg.Connection, make: Factory) -> UUID:
    resource_id = await make.resource(timezone="Europe/Athens")
    await put_schedule(conn, resource_id, p_now=MONDAY, **RULES)
    return resource_id


async def test_it_opens_as_the_schedule_says(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")

    assert (made["status"], made["opens_at"]) == ("pending", "2030-06-03T05:00:00+00:00")
    job = await one(conn, "SELECT job_type, queue, run_at FROM jobs WHERE job_type = 'run_openings'")
    assert tuple(job) == ("run_openings", "openings", OPENS)


async def test_who_came_first_gets_the_place_and_the_rest_fall_through(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = [await prebook(conn, pitch, f"c{n}", TEN, ELEVEN) for n in range(5)]

    assert await run(conn, pitch) == (4, 1, 0)

    ended = [await read(conn, each) for each in made]
    assert [each["status"] for each in ended] == ["succeeded"] * 4 + ["failed"]
    assert [(each["booked_target"] or {}).get("starts_at_local") for each in ended] == [TEN, TEN, ELEVEN, ELEVEN, None]
    assert ended[4]["reason"] == "slot_full"
    assert [attempt["finding"] for attempt in ended[2]["attempts"]] == ["slot_full", "booked"]
    assert ended[0]["lateness_ms"] == 0
