"""require_hours, schedules_guard_hours: what opening hours are, whoever writes them."""

import json
from datetime import date
from typing import Any

import asyncpg
import pytest

from tests.factories import Factory
from tests.sql.schedules import everything, put_exception, put_schedule
from tests.sql.support import at, call_value, refused

NOW = at("2030-06-03T00:00")
DAY = date(2030, 6, 4)
Hours = list[dict[str, Any]]


def hours(*times: str) -> Hours:
    """From "09:00-12:00" and the like."""
    return [dict(zip(("opens", "closes"), time.split("-"), strict=True)) for time in times]


GOOD: dict[str, Hours] = {
    "none": [],
    "one": hours("09:00-12:00"),
    "a whole day": hours("00:00-24:00"),
    "a minute": hours("09:00-09:01"),
    "two that meet": hours("09:00-12:00", "12:00-14:00"),
    "not in order": hours("15:00-17:00", "09:00-12:00"),
}
BAD: dict[str, Hours] = {
    "no time between": hours("09:00-09:00"),
    "closing before they open": hours("12:00-09:00"),
    "past midnight": hours("22:00-02:00"),
    "overlapping": hours("09:00-12:00", "11:59-14:00"),
    "one within another": hours("09:00-17:00", "10:00-11:00", "12:00-13:00"),
    "twice the same": hours("09:00-12:00", "09:00-12:00"),
    "an hour that is none": hours("24:01-24:02"),
    "a minute that is none": hours("09:60-10:00"),
    "opening at the end of the day": hours("24:00-24:00"),
    "with seconds": hours("09:00:00-10:00:00"),
    "of one digit": hours("9:00-10:00"),
    "of other digits": hours("\u0660\u0669:\u0660\u0660-10:00"),
    "with a line behind": hours("09:00-10:00\n"),
    "without an end": [{"opens": "09:00"}],
    "null": [{"opens": None, "closes": "10:00"}],
    "a number": [{"opens": 9, "closes": 10}],
    "no object": [{}],
}
good = pytest.mark.parametrize("given", GOOD.values(), ids=GOOD)
bad = pytest.mark.parametrize("given", BAD.values(), ids=BAD)


def on(given: Hours, weekday: object = 1) -> Hours:
    return [{"weekday": weekday} | entry for entry in given]


@good
async def test_these_are_opening_hours(conn: asyncpg.Connection, given: Hours) -> None:
    await call_value(conn, "require_hours", p_hours=json.dumps(given), p_is_weekly=False)
    await call_value(conn, "require_hours", p_hours=json.dumps(on(given)), p_is_weekly=True)


@bad
async def test_these_are_not_and_the_refusal_says_which(conn: asyncpg.Connection, given: Hours) -> None:
    for is_weekly, entries in ((False, given), (True, on(given))):
        with refused("SB017", "invalid_hours") as refusal:
            await call_value(conn, "require_hours", p_hours=json.dumps(entries), p_is_weekly=is_weekly)
        assert refusal.detail["hours"] in entries


async def test_hours_of_two_days_do_not_overlap(conn: asyncpg.Connection) -> None:
    both = on(hours("09:00-12:00"), 1) + on(hours("10:00-13:00"), 7)

    await call_value(conn, "require_hours", p_hours=json.dumps(both), p_is_weekly=True)


@pytest.mark.parametrize("weekday", [0, 8, "monday", None, 1.5, -1])
async def test_a_week_has_seven_days(conn: asyncpg.Connection, weekday: object) -> None:
    with refused("SB017", "invalid_hours"):
        entries = json.dumps(on(hours("09:00-12:00"), weekday))
        await call_value(conn, "require_hours", p_hours=entries, p_is_weekly=True)


async def test_the_hours_of_a_date_have_no_weekday(conn: asyncpg.Connection) -> None:
    with refused("SB017", "invalid_hours"):
        entries = json.dumps(on(hours("09:00-12:00")))
        await call_value(conn, "require_hours", p_hours=entries, p_is_weekly=False)


@bad
@pytest.mark.parametrize("dry_run", [False, True])
async def test_rules_with_such_hours_are_refused_and_nothing_changes(
    make: Factory, conn: asyncpg.Connection, dry_run: bool, given: Hours
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, p_now=NOW, horizon_days=1)
    before = await everything(conn)

    with refused("SB017", "invalid_hours"):
        await put_schedule(conn, resource_id, p_now=NOW, weekly=on(given), dry_run=dry_run)
    with refused("SB017", "invalid_hours"):
        await put_exception(conn, resource_id, DAY, given, p_dry_run=dry_run, p_now=NOW)

    assert await everything(conn) == before


async def test_nobody_writes_such_hours_around_the_functions(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, p_now=NOW, horizon_days=1)
    await put_exception(conn, resource_id, DAY, hours("10:00-11:00"), p_now=NOW)

    with refused("SB017", "invalid_hours"):
        await conn.execute("UPDATE schedules SET weekly = $1", json.dumps(on(BAD["overlapping"])))
    with refused("SB017", "invalid_hours"):
        await conn.execute("UPDATE schedule_exceptions SET hours = $1", json.dumps(BAD["overlapping"]))
    with refused("SB017", "invalid_hours"):
        insert = "INSERT INTO schedule_exceptions (resource_id, date, hours) VALUES ($1, '2030-06-05', $2)"
        await conn.execute(insert, resource_id, json.dumps(BAD["past midnight"]))
