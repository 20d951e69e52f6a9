"""What the tests of schedules share."""

import json
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from tests.factories import ACTOR
from tests.sql.support import call_json

RULES: dict[str, Any] = {
    "weekly": [{"weekday": day, "opens": "09:00", "closes": "12:00"} for day in range(1, 8)],
    "slot_minutes": 60,
    "max_bookings": 2,
    "max_units": None,
    "horizon_days": 7,
    "min_notice_minutes": 0,
    "booking_window_days": None,
    "opens_at_local": "00:00",
    "cancel_cutoff_minutes": 0,
    "hold_minutes": 15,
    "offer_minutes": 60,
    "max_bookings_per_customer": None,
}
COUNTS = ("created", "kept", "updated", "legacy", "removed", "blocked")


async def put_schedule(conn: asyncpg.Connection, resource_id: UUID, *, dry_run: bool = False, **rules: Any) -> Any:
    """The plan of PUT /v1/resources/{id}/schedule; `p_now` among the rules is the time."""
    given = {"p_now": rules.pop("p_now")} if "p_now" in rules else {}
    return await call_json(
        conn,
        "put_schedule",
        p_actor=ACTOR,
        p_resource_id=resource_id,
        p_rules=json.dumps(RULES | rules),
        p_dry_run=dry_run,
        **given,
    )


async def put_exception(
    conn: asyncpg.Connection, resource_id: UUID, day: date, hours: list[dict[str, str]] | None, **given: Any
) -> Any:
    """The plan of a date's own hours; None puts the weekly ones back."""
    return await call_json(
        conn,
        "put_exception",
        p_actor=ACTOR,
        p_resource_id=resource_id,
        p_date=day,
        p_hours=None if hours is None else json.dumps(hours),
        **given,
    )


def counts(plan: Any) -> dict[str, int]:
    """What a plan does, without what it leaves at nought."""
    return {name: plan[name] for name in COUNTS if plan[name]}


async def slots_of(conn: asyncpg.Connection, resource_id: UUID) -> list[tuple[datetime, int, int, bool]]:
    """Start, limit, bookings and whether it is legacy, by start."""
    rows = await conn.fetch(
        "SELECT starts_at, max_bookings, booked_bookings, is_legacy FROM slots WHERE resource_id = $1 ORDER BY 1",
        resource_id,
    )
    return [tuple(row) for row in rows]
