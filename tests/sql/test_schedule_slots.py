"""schedule_slots: the slots that rules give, up to the horizon, whatever the clocks of the resource's zone do."""

import json
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from tests.factories import HOUR, Factory
from tests.sql.schedules import RULES, Jump, jumps
from tests.sql.support import TICK, at

MONDAY = at("2030-06-03T00:00")
ALWAYS = [{"weekday": day, "opens": "00:00", "closes": "24:00"} for day in range(1, 8)]
Slots = list[tuple[datetime, datetime]]


async def slots(
    make: Factory,
    *,
    timezone: str = "UTC",
    p_now: datetime = MONDAY,
    exceptions: dict[str, list[dict[str, str]]] | None = None,
    **rules: Any,
) -> Slots:
    """Start and end of every slot of a new resource with these rules, by start."""
    rows = await make.conn.fetch(
        """SELECT w.starts_at, w.ends_at
        FROM schedule_slots(
          jsonb_populate_record(NULL::schedules, $1),
          ARRAY(
            SELECT ROW(NULL, e.key::date, e.value, now(), now())::schedule_exceptions FROM jsonb_each($2::jsonb) e
          ),
          $3
        ) w
        ORDER BY 1, 2""",
        json.dumps(RULES | rules | {"resource_id": str(await make.resource(timezone=timezone))}),
        json.dumps(exceptions or {}),
        p_now,
    )
    return [tuple(row) for row in rows]


def on(weekday: int, *hours: str) -> list[dict[str, Any]]:
    """Weekly hours of one day, each written as 09:00-12:00."""
    return [{"weekday": weekday, **entry} for entry in during(*hours)]


def during(*hours: str) -> list[dict[str, str]]:
    """A date's hours, each written as 09:00-12:00."""
    return [dict(zip(("opens", "closes"), entry.split("-"), strict=True)) for entry in hours]


def clocks(found: Slots) -> list[str]:
    """Day and time of each start, in UTC."""
    return [start.astimezone(UTC).strftime("%d %H:%M") for start, _ in found]


async def test_each_weekday_has_its_own_hours_and_monday_is_the_first(make: Factory) -> None:
    weekly = on(1, "09:00-10:00") + on(7, "20:00-21:00")

    found = await slots(make, weekly=weekly, horizon_days=7)

    # the 3rd is a Monday
    assert clocks(found) == ["03 09:00", "09 20:00", "10 09:00"]


async def test_hours_are_cut_into_equal_lengths_and_what_is_too_short_for_one_is_left_over(make: Factory) -> None:
    found = await slots(make, weekly=on(1, "09:00-11:00", "12:10-12:54", "23:15-24:00"), slot_minutes=45)

    assert clocks(found) == ["03 09:00", "03 09:45", "03 23:15", "10 09:00", "10 09:45", "10 23:15"]
    assert {end - start for start, end in found} == {timedelta(minutes=45)}


async def test_slots_reach_to_the_end_of_the_last_day_and_no_further(make: Factory) -> None:
    found = await slots(make, weekly=ALWAYS, horizon_days=1, p_now=MONDAY + timedelta(hours=5, minutes=30))

    assert found == [(MONDAY + n * HOUR, MONDAY + (n + 1) * HOUR) for n in range(6, 48)]


async def test_a_slot_that_begins_now_is_not_given_any_more(make: Factory) -> None:
    nine = MONDAY + 9 * HOUR

    assert (await slots(make, p_now=nine - timedelta(microseconds=1)))[0][0] == nine
    assert (await slots(make, p_now=nine))[0][0] == nine + HOUR


async def test_today_is_the_day_it_is_where_the_resource_is(make: Factory) -> None:
    # it is Tuesday already in Auckland, and still Sunday in Honolulu
    weekly = on(1, "10:00-11:00")

    east = await slots(make, timezone="Pacific/Auckland", weekly=weekly, horizon_days=6, p_now=at("2030-06-03T12:30"))
    west = await slots(make, timezone="Pacific/Honolulu", weekly=weekly, horizon_days=1, p_now=at("2030-06-03T09:30"))

    assert clocks(east) == ["09 22:00"]
    assert clocks(west) == ["03 20:00"]


async def test_a_date_with_an_exception_has_those_hours_and_no_others(make: Factory) -> None:
    exceptions = {"2030-06-04": during("18:00-20:00", "21:00-22:00"), "2030-06-05": []}

    found = await slots(make, weekly=ALWAYS[:2], slot_minutes=60, horizon_days=3, exceptions=exceptions)

    assert [start for start in clocks(found) if start > "04"] == ["04 18:00", "04 19:00", "04 21:00"]
    assert len(found) == 23 + 3


async def test_an_exception_opens_a_weekday_that_is_closed(make: Factory) -> None:
    found = await slots(make, weekly=[], exceptions={"2030-06-05": during("09:00-10:00")})

    assert clocks(found) == ["05 09:00"]


async def test_an_exception_outside_the_horizon_gives_nothing(make: Factory) -> None:
    exceptions = {"2030-06-02": during("09:00-10:00"), "2030-06-05": during("09:00-10:00")}

    assert await slots(make, weekly=[], horizon_days=1, exceptions=exceptions) == []


async def test_no_hours_give_no_slots(make: Factory) -> None:
    assert await slots(make, weekly=[]) == []


LATE = ["04:00", "04:30", "05:00", "05:30"]
BY_HAND = [
    ("Europe/Athens", "2030-03-31", 60, ["00:00", "01:00", "02:00", "04:00", "05:00"]),
    ("Europe/Athens", "2030-03-31", 90, ["00:00", "01:30", "04:30"]),
    ("Europe/Athens", "2030-10-27", 60, ["00:00", "01:00", "02:00", "03:00", "04:00", "05:00"]),
    ("Australia/Lord_Howe", "2030-10-06", 60, ["00:00", "01:00", "03:00", "04:00", "05:00"]),
    ("Australia/Lord_Howe", "2030-10-06", 30, ["00:00", "00:30", "01:00", "01:30", "02:30", "03:00", "03:30", *LATE]),
    ("Antarctica/Troll", "2030-03-31", 60, ["00:00", "03:00", "04:00", "05:00"]),
    ("Antarctica/Troll", "2030-10-27", 60, ["00:00", "01:00", "02:00", "03:00", "04:00", "05:00"]),
    ("Asia/Beirut", "2030-03-31", 60, ["01:00", "02:00", "03:00", "04:00", "05:00"]),
    ("Africa/Cairo", "2030-04-26", 45, ["01:30", "02:15", "03:00", "03:45", "04:30", "05:15"]),
    ("America/Havana", "2030-11-03", 60, ["00:00", "01:00", "02:00", "03:00", "04:00", "05:00"]),
    ("Pacific/Apia", "2011-12-30", 60, []),
]


@pytest.mark.parametrize(("timezone", "day", "minutes", "expected"), BY_HAND)
async def test_on_a_day_when_the_clocks_change_these_slots_are_made(
    make: Factory, conn: asyncpg.Connection, timezone: str, day: str, minutes: int, expected: list[str]
) -> None:
    p_now = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=2)
    found = await slots(
        make, timezone=timezone, p_now=p_now, weekly=[], slot_minutes=minutes, exceptions={day: during("00:00-06:00")}
    )

    walls = await conn.fetch(
        "SELECT to_char(s AT TIME ZONE $2, 'YYYY-MM-DD HH24:MI') FROM unnest($1::timestamptz[]) s",
        [start for start, _ in found],
        timezone,
    )

    assert [wall for (wall,) in walls] == [f"{day} {clock}" for clock in expected]


ZONES = [
    "Europe/Athens",
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Africa/Cairo",
    "America/Havana",
    "America/Santiago",
    "Atlantic/Azores",
    "Africa/Casablanca",
]


def start_of(wall: datetime, length: timedelta, jump: Jump) -> datetime | None:
    """The instant of a slot near that change, told from what the clocks showed before and after it."""
    if jump.reached < jump.left and wall < jump.left and wall + length > jump.reached:
        return None
    is_before = wall < jump.left or wall + length <= jump.reached
    return jump.at + (wall - (jump.reached if is_before else jump.left))


@pytest.mark.parametrize("minutes", [15, 45, 60, 90, 1440])
async def test_through_a_change_of_clocks_no_hour_is_lost_given_twice_or_given_wrongly(
    make: Factory, conn: asyncpg.Connection, minutes: int
) -> None:
    found = await jumps(conn, ZONES, at("2026-01-01T00:00"), at("2027-12-31T00:00"))
    assert {jump.zone for jump in found} == set(ZONES)
    length = timedelta(minutes=minutes)

    for jump in found:
        midnight = datetime.combine(min(jump.reached, jump.left), time()) - timedelta(days=1)
        walls = [midnight + n * length for n in range(timedelta(days=3) // length)]
        expected = sorted(start for wall in walls if (start := start_of(wall, length, jump)))

        made = await slots(
            make,
            timezone=jump.zone,
            p_now=jump.at + (midnight - jump.reached) - TICK,
            weekly=ALWAYS,
            slot_minutes=minutes,
            horizon_days=3,
        )

        # today was all but over
        assert made == [(start, start + length) for start in expected], jump
        assert all(end <= start for (_, end), (start, _) in pairwise(made)), jump


async def test_a_day_of_23_hours_has_no_slot_of_a_day_and_one_of_25_hours_has_one_of_24(make: Factory) -> None:
    shorter, longer = date(2030, 3, 31), date(2030, 10, 27)

    for day, starts in ((shorter, []), (longer, [at("2030-10-27T00:00+03:00")])):
        p_now = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=2)
        exceptions = {str(day): during("00:00-24:00")}
        found = await slots(
            make, timezone="Europe/Athens", p_now=p_now, weekly=[], slot_minutes=1440, exceptions=exceptions
        )
        assert found == [(start, start + 24 * HOUR) for start in starts]
