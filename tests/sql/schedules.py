"""What the tests of schedules share."""

import json
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from tests.factories import ACTOR, SYSTEM
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


async def refresh(conn: asyncpg.Connection, resource_id: UUID, p_now: datetime) -> Any:
    """The plan that bringing the coming slots in line with the rules amounts to."""
    return await call_json(conn, "refresh_future_schedule", p_actor=SYSTEM, p_resource_id=resource_id, p_now=p_now)


async def slot_at(conn: asyncpg.Connection, resource_id: UUID, start: datetime) -> UUID:
    """The resource's one slot with that start."""
    query = "SELECT id FROM slots WHERE resource_id = $1 AND starts_at = $2"
    (row,) = await conn.fetch(query, resource_id, start)
    return UUID(str(row["id"]))


async def everything(conn: asyncpg.Connection) -> dict[str, list[tuple[str, ...]]]:
    """Every row of every table, with the transaction that wrote it."""
    tables = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema ORDER BY 1")
    return {
        table: [tuple(row) for row in await conn.fetch(f"SELECT ctid::text, xmin::text, t::text FROM {table} t")]
        for (table,) in tables
    }


class Jump(NamedTuple):
    """A change of clocks: the instant, and what they show when they reach it and when they leave it."""

    zone: str
    at: datetime
    reached: datetime
    left: datetime


# A step of four days is shorter than any time between two changes. Then halves, down to a second.
JUMPS = """
    WITH RECURSIVE halves AS (
      SELECT zone, low, low + 345600 AS high
      FROM unnest($1::text[]) zone
      CROSS JOIN generate_series(
        extract(epoch FROM $2::timestamptz)::bigint, extract(epoch FROM $3::timestamptz)::bigint, 345600
      ) low
      WHERE to_timestamp(low) AT TIME ZONE zone - to_timestamp(low) AT TIME ZONE 'UTC'
        <> to_timestamp(low + 345600) AT TIME ZONE zone - to_timestamp(low + 345600) AT TIME ZONE 'UTC'
      UNION ALL
      SELECT h.zone, CASE WHEN m.is_same THEN m.at ELSE h.low END, CASE WHEN m.is_same THEN h.high ELSE m.at END
      FROM halves h
      CROSS JOIN LATERAL (
        SELECT (h.low + h.high) / 2 AS at, to_timestamp((h.low + h.high) / 2) AT TIME ZONE zone
          - to_timestamp(h.low) AT TIME ZONE zone = make_interval(secs => (h.low + h.high) / 2 - h.low) AS is_same
      ) m
      WHERE h.high - h.low > 1
    )
    SELECT
      h.zone,
      to_timestamp(h.high) AS at,
      to_timestamp(h.low) AT TIME ZONE h.zone + interval '1 second' AS reached,
      to_timestamp(h.high) AT TIME ZONE h.zone AS left
    FROM halves h
    WHERE h.high - h.low = 1
    ORDER BY 1, 2
"""


async def jumps(conn: asyncpg.Connection, zones: Iterable[str], first: datetime, last: datetime) -> list[Jump]:
    """Every change of clocks between two instants, as the server that the slots are made on knows them."""
    return [Jump(*row) for row in await conn.fetch(JUMPS, list(zones), first, last)]
