"""What the tests of prebookings share: a pitch that opens a week ahead, and shorthands for what is done with one."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from tests.factories import ACTOR, HOUR, SYSTEM, Factory
from tests.sql.schedules import put_schedule, slot_at
from tests.sql.support import at, call_json, call_row

MONDAY = at("2030-06-03T00:00")
OPENS = at("2030-06-03T05:00")
EARLIER = OPENS - HOUR
TEN = "2030-06-10T10:00"
ELEVEN = "2030-06-10T11:00"
AT_TEN = at("2030-06-10T10:00+03:00")
AT_ELEVEN = AT_TEN + HOUR
# a week ahead, at eight in the morning of the resource's zone
RULES: dict[str, Any] = {
    "slot_minutes": 60,
    "max_bookings": 2,
    "weekly": [{"weekday": day, "opens": "09:00", "closes": "18:00"} for day in range(1, 8)],
    "horizon_days": 14,
    "booking_window_days": 7,
    "opens_at_local": "08:00",
}


async def make_pitch(conn: asyncpg.Connection, **rules: Any) -> UUID:
    """A resource in Athens with those rules, and its slots."""
    resource_id = await Factory(conn).resource(timezone="Europe/Athens")
    await put_schedule(conn, resource_id, **({"p_now": MONDAY} | RULES | rules))
    return resource_id


def targets(*times: str) -> str:
    """Slots of a resource, by their wall-clock times."""
    return json.dumps([{"starts_at_local": time} for time in times])


async def create(conn: asyncpg.Connection, resource_id: UUID, ref: str, *times: str, **overrides: Any) -> Any:
    """The row of create_prebooking, an hour before the opening unless a p_now is given."""
    arguments = {
        "p_actor": ACTOR,
        "p_resource_id": resource_id,
        "p_provider": None,
        "p_targets": targets(*(times or (TEN,))),
        "p_customer": json.dumps({"ref": ref}),
        "p_now": EARLIER,
    }
    return await call_row(conn, "create_prebooking", **(arguments | overrides))


async def prebook(
    conn: asyncpg.Connection, resource_id: UUID, ref: str, *times: str, **overrides: Any
) -> dict[str, Any]:
    """A new prebooking, as the API answers it."""
    made: dict[str, Any] = json.loads((await create(conn, resource_id, ref, *times, **overrides))["body"])
    return made


async def prebook_there(conn: asyncpg.Connection, provider: str, ref: str, **overrides: Any) -> dict[str, Any]:
    """One at a provider, for that Monday's date."""
    there = {"p_provider": provider, "p_targets": '[{"date": "2030-06-10"}]'}
    made: dict[str, Any] = json.loads((await create(conn, None, ref, **(there | overrides)))["body"])  # type: ignore[arg-type]
    return made


async def run(conn: asyncpg.Connection, resource_id: UUID, *, limit: int = 100, now: Any = OPENS) -> tuple[int, ...]:
    """How many succeeded and failed, and how many are left."""
    row = await call_row(conn, "run_openings", p_actor=SYSTEM, p_resource_id=resource_id, p_limit=limit, p_now=now)
    return tuple(row)


async def run_all(conn: asyncpg.Connection, resource_id: UUID, now: Any) -> tuple[int, int]:
    """How many succeeded and failed in all, when it is run until nothing is left, as its handler does."""
    done = [0, 0]
    remaining = 1
    while remaining:
        succeeded, failed, remaining = await run(conn, resource_id, now=now)
        done = [done[0] + succeeded, done[1] + failed]
    return done[0], done[1]


async def read(conn: asyncpg.Connection, prebooking: dict[str, Any]) -> dict[str, Any]:
    """The prebooking as it is by now."""
    found: dict[str, Any] = await call_json(conn, "get_prebooking", p_prebooking_id=UUID(prebooking["id"]))
    return found


async def read_all(conn: asyncpg.Connection, made: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """They as they are by now."""
    return [await read(conn, each) for each in made]


async def give_up(conn: asyncpg.Connection, prebooking: dict[str, Any], **overrides: Any) -> dict[str, Any]:
    """The prebooking, cancelled."""
    arguments = {"p_actor": ACTOR, "p_prebooking_id": UUID(prebooking["id"]), "p_now": EARLIER} | overrides
    answer: dict[str, Any] = await call_json(conn, "cancel_prebooking", **arguments)
    return answer


async def slot_of(conn: asyncpg.Connection, resource_id: UUID, time: str = TEN) -> UUID:
    """The slot of a pitch with that wall-clock time."""
    return await slot_at(conn, resource_id, at(f"{time}+03:00"))


async def put_provider(conn: asyncpg.Connection, name: str = "club", **rules: Any) -> Any:
    """A provider in Athens that opens as the pitch does."""
    arguments = {
        "p_actor": ACTOR,
        "p_name": name,
        "p_adapter": "http_json",
        "p_settings": "{}",
        "p_timezone": "Europe/Athens",
        "p_booking_window_days": 7,
        "p_opens_at_local": at("2030-06-03T08:00").time(),
        "p_now": MONDAY,
    }
    return await call_json(conn, "put_provider", **(arguments | rules))


async def openings_of(conn: asyncpg.Connection) -> list[tuple[str, datetime]]:
    """The status and run_at of each job that runs openings, by run_at."""
    rows = await conn.fetch("SELECT status, run_at FROM jobs WHERE job_type = 'run_openings' ORDER BY run_at, status")
    return [(row["status"], row["run_at"]) for row in rows]
