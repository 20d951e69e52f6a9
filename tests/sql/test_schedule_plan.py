"""schedule_plan, apply_schedule_plan, schedule_plan_json, arm_schedule_refresh: the steps of a refresh, each alone."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from tests.factories import Factory
from tests.sql.schedules import counts, put_schedule, slot_at, slots_of
from tests.sql.support import at, call_value

NOW = at("2030-06-03T00:00")
DAY = timedelta(days=1)
NINE, TEN, ELEVEN = (NOW + timedelta(hours=hour) for hour in (9, 10, 11))
# what the rules in force ask for now
PLAN = """
    SELECT p FROM schedules c, schedule_plan(c, ARRAY[]::schedule_exceptions[], $2) p WHERE c.resource_id = $1
"""


async def half_empty(make: Factory, conn: asyncpg.Connection) -> UUID:
    """A resource whose three slots of the day no longer fit its rules: one is booked, one empty, one gone."""
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, p_now=NOW, horizon_days=1)
    await make.booking(await slot_at(conn, resource_id, NINE), p_now=NOW)
    await conn.execute("DELETE FROM slots WHERE starts_at = $1 OR starts_at >= $2", ELEVEN, NOW + DAY)
    await conn.execute("UPDATE schedules SET slot_minutes = 90, horizon_days = 1")
    return resource_id


async def actions(conn: asyncpg.Connection, resource_id: UUID) -> list[tuple[Any, ...]]:
    rows = await conn.fetch(f"SELECT (p).action, (p).starts_at, (p).max_bookings FROM ({PLAN}) x ORDER BY 2, 1",
                            resource_id, NOW)  # fmt: skip
    return [tuple(row) for row in rows if row["starts_at"] < NOW + DAY]


async def test_a_plan_says_what_becomes_of_each_slot(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await half_empty(make, conn)

    assert await actions(conn, resource_id) == [
        ("created", NINE, 1),
        ("legacy", NINE, 1),
        ("removed", TEN, 0),
        ("created", TEN + timedelta(minutes=30), 2),
    ]


async def test_a_plan_is_applied_once_and_then_asks_for_nothing(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await half_empty(make, conn)
    apply = f"SELECT apply_schedule_plan($1, ARRAY({PLAN}), $2)"

    await conn.execute(apply, resource_id, NOW)

    after = await slots_of(conn, resource_id)
    assert sorted(slot for slot in after if slot[0] < NOW + DAY) == [
        (NINE, 1, 0, False),
        (NINE, 2, 1, True),
        (TEN + timedelta(minutes=30), 2, 0, False),
    ]
    assert {action for action, *_ in await actions(conn, resource_id)} <= {"kept", None}
    await conn.execute(apply, resource_id, NOW)
    assert await slots_of(conn, resource_id) == after


async def test_a_plan_is_told_in_numbers_and_names_the_bookings_it_affects(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await half_empty(make, conn)
    told = await conn.fetchval(f"SELECT schedule_plan_json(ARRAY({PLAN}), true)", resource_id, NOW)
    plan = json.loads(told)

    assert plan == await put_schedule(conn, resource_id, p_now=NOW, slot_minutes=90, horizon_days=1, dry_run=True)
    assert counts(plan) == {"created": 4, "legacy": 1, "removed": 1}
    (affected,) = plan["affected_bookings"]
    assert (at(affected["starts_at"]), affected["status"], affected["units"]) == (NINE, "confirmed", 1)


async def test_a_refresh_is_due_after_the_next_midnight_of_the_resource(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource(timezone="Asia/Tokyo")
    due = "SELECT run_at FROM jobs WHERE job_type = 'refresh_schedule' AND status = 'pending' AND dedupe_key = $1"
    midnight = at("2030-06-03T15:00")

    await call_value(conn, "arm_schedule_refresh", p_resource_id=resource_id, p_now=NOW)
    await call_value(conn, "arm_schedule_refresh", p_resource_id=resource_id, p_now=NOW + timedelta(hours=1))
    assert [row["run_at"] for row in await conn.fetch(due, str(resource_id))] == [midnight]

    # the day is over: that job is done, and there is one for the next
    await call_value(conn, "arm_schedule_refresh", p_resource_id=resource_id, p_now=midnight)
    assert [row["run_at"] for row in await conn.fetch(due, str(resource_id))] == [midnight + DAY]
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE status = 'processed'") == 1
