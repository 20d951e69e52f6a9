"""slot_instant: the one instant of a wall-clock time, in every zone, around every change of its clocks."""

import itertools
from datetime import datetime, timedelta
from zoneinfo import available_timezones

import asyncpg
import pytest

from tests.sql.schedules import Jump, jumps
from tests.sql.support import at, call_value

FIRST, LAST = at("2024-01-01T00:00"), at("2031-12-31T23:59")

# Slots cut from each local day around each change, and what is wrong with them: each column counts slots.
AROUND_JUMPS = """
    WITH jump AS (
      SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamp[], $4::timestamp[]) j(zone, at, reached, "left")
    ), cut AS (
      SELECT j.*, wall, make_interval(mins => $5) AS length
      FROM jump j
      CROSS JOIN LATERAL generate_series(
        date_trunc('day', LEAST(j.reached, j.left)) - interval '24 hours' + make_interval(mins => $6),
        GREATEST(j.reached, j.left) + make_interval(mins => $5) + interval '4 hours',
        make_interval(mins => $5)
      ) wall
      WHERE wall > LEAST(j.reached, j.left) - make_interval(mins => $5) - interval '4 hours'
    ), made AS MATERIALIZED (
      SELECT c.*, slot_instant(c.wall, c.length, c.zone) AS starts_at FROM cut c
    ), shown AS (
      SELECT
        m.*,
        m.starts_at + m.length AS ends_at,
        lag(m.starts_at + m.length) OVER (PARTITION BY m.zone, m.at ORDER BY m.wall) AS free_from,
        -- between these instants the clocks run on without a break
        ARRAY[m.starts_at, m.starts_at + m.length - interval '1 microsecond'] || CASE
          WHEN m.at > m.starts_at AND m.at < m.starts_at + m.length THEN ARRAY[m.at - interval '1 microsecond', m.at]
        END AS instants
      FROM made m
      WHERE m.starts_at IS NOT NULL
    )
    SELECT
      (SELECT count(*) FROM made) AS slots,
      (SELECT count(*) FROM made m WHERE m.starts_at IS NULL) AS not_made,
      (
        SELECT count(*)
        FROM made m
        WHERE (m.starts_at IS NULL) <> (m.reached < m.left AND m.wall < m.left AND m.wall + m.length > m.reached)
      ) AS not_made_although_it_exists_or_made_although_it_does_not,
      count(*) FILTER (WHERE s.starts_at AT TIME ZONE s.zone <> s.wall) AS elsewhere,
      count(*) FILTER (
        WHERE EXISTS (
          SELECT FROM unnest(s.instants) i
          WHERE i AT TIME ZONE s.zone < s.wall OR i AT TIME ZONE s.zone >= s.wall + s.length
        )
      ) AS outside,
      count(*) FILTER (WHERE s.starts_at < s.free_from) AS overlapping,
      -- the first of two, where the whole slot fits before the clocks go back
      count(*) FILTER (
        WHERE s.starts_at - s.at <> s.wall - CASE
          WHEN s.wall < s.left OR s.wall + s.length <= s.reached THEN s.reached
          ELSE s.left
        END
      ) AS another_of_two
    FROM shown s
"""
SOUND = {
    "not_made_although_it_exists_or_made_although_it_does_not": 0,
    "elsewhere": 0,
    "outside": 0,
    "overlapping": 0,
    "another_of_two": 0,
}


async def around(conn: asyncpg.Connection, found: list[Jump], minutes: int, offset: int = 0) -> dict[str, int]:
    """What AROUND_JUMPS counts for slots of that length, the first of which starts `offset` minutes after midnight."""
    columns = [list(column) for column in zip(*found, strict=True)]
    row = await conn.fetchrow(AROUND_JUMPS, *columns, minutes, offset)
    return dict(row or {})


@pytest.fixture(scope="module")
def found() -> list[Jump]:
    """The changes of clocks, once the first test has looked for them."""
    return []


@pytest.fixture
async def every_jump(conn: asyncpg.Connection, found: list[Jump]) -> list[Jump]:
    """Every change of clocks of 2024 to 2031, in every zone known to both Python and the server."""
    if not found:
        known = {row["name"] for row in await conn.fetch("SELECT name FROM pg_timezone_names")}
        found += await jumps(conn, known & available_timezones(), FIRST, LAST)
    return found


async def test_the_changes_of_clocks_include_the_odd_ones_and_none_is_near_another(every_jump: list[Jump]) -> None:
    shifts = {(jump.zone, abs(jump.left - jump.reached)) for jump in every_jump}

    assert len(every_jump) > 2000
    assert {("Australia/Lord_Howe", timedelta(minutes=30)), ("Antarctica/Troll", timedelta(hours=2))} <= shifts
    zones = {"Asia/Beirut", "Africa/Cairo", "America/Havana", "America/Santiago", "Atlantic/Azores", "Europe/Athens"}
    assert zones | {"Africa/Casablanca"} <= {zone for zone, _ in shifts}
    for earlier, later in itertools.pairwise(every_jump):
        assert earlier.zone != later.zone or later.at - earlier.at > timedelta(days=4)


@pytest.mark.parametrize(
    ("minutes", "offset"), [(15, 0), (20, 10), (45, 0), (60, 0), (60, 30), (90, 0), (90, 45), (240, 0), (1440, 0)]
)
async def test_around_every_change_of_clocks_in_every_zone_slots_show_their_own_times_once(
    conn: asyncpg.Connection, every_jump: list[Jump], minutes: int, offset: int
) -> None:
    counted = await around(conn, every_jump, minutes, offset)

    assert counted.items() >= SOUND.items()
    assert counted["slots"] >= 3 * len(every_jump)
    # a slot of every change that goes forward, and there are about as many of those as of the others
    assert counted["not_made"] > len(every_jump) / 3


async def test_the_zone_of_the_session_makes_no_difference(conn: asyncpg.Connection, every_jump: list[Jump]) -> None:
    odd = [jump for jump in every_jump if jump.zone in {"Europe/Athens", "America/Havana", "Australia/Lord_Howe"}]
    expected = [await around(conn, odd, minutes) for minutes in (60, 1440)]

    # both clocks change on these days
    for zone in ("Europe/Athens", "America/Havana"):
        await conn.execute(f"SET timezone TO '{zone}'")
        assert [await around(conn, odd, minutes) for minutes in (60, 1440)] == expected
        assert expected[0].items() >= SOUND.items()


BY_HAND = [
    # an ordinary day
    ("Europe/Athens", "2030-06-03T09:00", 60, "2030-06-03T09:00+03:00"),
    ("Europe/Athens", "2030-01-03T09:00", 60, "2030-01-03T09:00+02:00"),
    # 03:00 becomes 04:00
    ("Europe/Athens", "2030-03-31T02:00", 60, "2030-03-31T02:00+02:00"),
    ("Europe/Athens", "2030-03-31T02:30", 60, None),
    ("Europe/Athens", "2030-03-31T03:00", 60, None),
    ("Europe/Athens", "2030-03-31T03:45", 15, None),
    ("Europe/Athens", "2030-03-31T04:00", 60, "2030-03-31T04:00+03:00"),
    ("Europe/Athens", "2030-03-31T00:00", 1440, None),
    # 04:00 becomes 03:00
    ("Europe/Athens", "2030-10-27T02:30", 60, "2030-10-27T02:30+03:00"),
    ("Europe/Athens", "2030-10-27T03:00", 60, "2030-10-27T03:00+03:00"),
    ("Europe/Athens", "2030-10-27T03:30", 30, "2030-10-27T03:30+03:00"),
    ("Europe/Athens", "2030-10-27T03:30", 60, "2030-10-27T03:30+02:00"),
    ("Europe/Athens", "2030-10-27T04:00", 60, "2030-10-27T04:00+02:00"),
    ("Europe/Athens", "2030-10-27T00:00", 1440, "2030-10-27T00:00+03:00"),
    # half an hour: 02:00 becomes 02:30, and 02:00 becomes 01:30
    ("Australia/Lord_Howe", "2030-10-06T02:00", 30, None),
    ("Australia/Lord_Howe", "2030-10-06T02:30", 30, "2030-10-06T02:30+11:00"),
    ("Australia/Lord_Howe", "2030-04-07T01:30", 30, "2030-04-07T01:30+11:00"),
    ("Australia/Lord_Howe", "2030-04-07T01:45", 30, "2030-04-07T01:45+10:30"),
    # two hours: 01:00 becomes 03:00, and 03:00 becomes 01:00
    ("Antarctica/Troll", "2030-03-31T01:00", 60, None),
    ("Antarctica/Troll", "2030-03-31T02:00", 60, None),
    ("Antarctica/Troll", "2030-03-31T03:00", 60, "2030-03-31T03:00+02:00"),
    ("Antarctica/Troll", "2030-10-27T01:00", 60, "2030-10-27T01:00+02:00"),
    ("Antarctica/Troll", "2030-10-27T02:30", 60, "2030-10-27T02:30+00:00"),
    # days without a midnight
    ("Asia/Beirut", "2030-03-31T00:00", 60, None),
    ("Africa/Cairo", "2030-04-26T00:00", 60, None),
    ("America/Havana", "2030-03-10T00:00", 60, None),
    ("America/Santiago", "2030-09-08T00:00", 60, None),
    ("Atlantic/Azores", "2030-03-31T00:00", 60, None),
    # midnight becomes 23:00 of the day before, or one o'clock becomes midnight
    ("Asia/Beirut", "2030-10-26T23:00", 60, "2030-10-26T23:00+03:00"),
    ("Asia/Beirut", "2030-10-26T23:30", 60, "2030-10-26T23:30+02:00"),
    ("Asia/Beirut", "2030-10-27T00:00", 60, "2030-10-27T00:00+02:00"),
    ("America/Havana", "2030-11-03T00:00", 60, "2030-11-03T00:00-04:00"),
    ("America/Havana", "2030-11-03T00:30", 60, "2030-11-03T00:30-05:00"),
    # a day that never was
    ("Pacific/Apia", "2011-12-29T23:00", 60, "2011-12-29T23:00-10:00"),
    ("Pacific/Apia", "2011-12-29T23:30", 60, None),
    ("Pacific/Apia", "2011-12-30T00:00", 60, None),
    ("Pacific/Apia", "2011-12-30T12:00", 15, None),
    ("Pacific/Apia", "2011-12-30T00:00", 1440, None),
    ("Pacific/Apia", "2011-12-31T00:00", 60, "2011-12-31T00:00+14:00"),
    ("Pacific/Apia", "2011-12-31T00:00", 1440, "2011-12-31T00:00+14:00"),
]


@pytest.mark.parametrize(("zone", "wall", "minutes", "expected"), BY_HAND)
async def test_a_wall_clock_time_is_this_instant(
    conn: asyncpg.Connection, zone: str, wall: str, minutes: int, expected: str | None
) -> None:
    instant = await call_value(
        conn,
        "slot_instant",
        p_wall=datetime.fromisoformat(wall),
        p_length=timedelta(minutes=minutes),
        p_timezone=zone,
    )

    assert instant == (at(expected) if expected else None)
