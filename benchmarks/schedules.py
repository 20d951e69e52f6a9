"""Rules become slots, set-based: slots a second for a month, a quarter and a year of short slots, and how it grows."""

import json
import time
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from benchmarks.plan import Plan
from benchmarks.seed import ACTOR

HORIZONS = (30, 91, 364)
QUARTER_HOUR = 15

ADD_RESOURCE = "SELECT resource_id FROM create_resource($1, 'Pitch', 'Europe/Athens')"
REFRESH = "SELECT refresh_future_schedule($1, $2)"


@dataclass(frozen=True)
class Refresh:
    """What one horizon took."""

    horizon_days: int
    slots: int
    created_per_second: float
    unchanged_seconds: float
    """The same rules once more: everything is compared, nothing written."""


async def measure_schedules(connection: asyncpg.Connection, plan: Plan) -> list[Refresh]:
    """For each horizon, `plan.rounds` resources that are open day and night. Raises RuntimeError on a wrong count."""
    return [await _refresh(connection, plan, horizon_days) for horizon_days in HORIZONS[: plan.horizons]]


async def _refresh(connection: asyncpg.Connection, plan: Plan, horizon_days: int) -> Refresh:
    slots, creating, comparing = 0, 0.0, 0.0
    for _ in range(plan.rounds):
        await connection.execute("CHECKPOINT")
        began = time.perf_counter()
        resource_id, created = await put_schedule(connection, slot_minutes=QUARTER_HOUR, horizon_days=horizon_days)
        created_at = time.perf_counter()
        again = json.loads(
            await connection.fetchval("SELECT refresh_future_schedule($1, $2)", ACTOR, UUID(resource_id))
        )
        if not created or created - again["kept"] > 1 or again["created"] > 1:
            msg = f"{created} slots created, then {again}"
            raise RuntimeError(msg)
        slots, creating, comparing = (
            slots + created,
            creating + created_at - began,
            comparing + time.perf_counter() - created_at,
        )
    return Refresh(horizon_days, slots // plan.rounds, slots / creating, comparing / plan.rounds)


async def put_schedule(
    connection: asyncpg.Connection, *, opens: str = "00:00", slot_minutes: int, horizon_days: int
) -> tuple[str, int]:
    """A new resource with that schedule: its id, and how many slots it has."""
    resource_id = await connection.fetchval(
        "SELECT resource_id FROM create_resource($1, 'Pitch', 'Europe/Athens')", ACTOR
    )
    rules = {
        "weekly": [{"weekday": day, "opens": opens, "closes": "24:00"} for day in range(1, 8)],
        "slot_minutes": slot_minutes,
        "max_bookings": 1,
        "max_units": None,
        "horizon_days": horizon_days,
        "min_notice_minutes": 0,
        "booking_window_days": None,
        "opens_at_local": "00:00",
        "cancel_cutoff_minutes": 0,
        "hold_minutes": 15,
        "offer_minutes": 60,
        "max_bookings_per_customer": None,
    }
    plan = await connection.fetchval("SELECT put_schedule($1, $2, $3)", ACTOR, resource_id, json.dumps(rules))
    return str(resource_id), int(json.loads(plan)["created"])
