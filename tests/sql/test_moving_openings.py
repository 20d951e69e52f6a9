"""Rules that change take the openings of prebookings with them: earlier, later, to now, to another zone."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import ACTOR, HOUR
from tests.sql.events import reader
from tests.sql.prebookings import (
    AT_TEN,
    EARLIER,
    ELEVEN,
    OPENS,
    RULES,
    TEN,
    give_up,
    make_pitch,
    openings_of,
    prebook,
    prebook_there,
    put_provider,
    read,
    read_all,
    run,
    run_all,
)
from tests.sql.schedules import put_schedule
from tests.sql.support import at, call_row

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
NOON = OPENS + 4 * HOUR
# the clocks of Athens skip 03:30 on that day, those of Tokyo do not
SKIPPED = "2030-03-31T03:30"


@pytest.fixture
async def pitch(conn: asyncpg.Connection) -> UUID:
    return await make_pitch(conn)


async def change(conn: asyncpg.Connection, pitch: UUID, now: Any = EARLIER, **rules: Any) -> None:
    """The rules of a pitch are others. move_openings does the rest."""
    await put_schedule(conn, pitch, p_now=now, **RULES | rules)


async def opening(conn: asyncpg.Connection, prebooking: dict[str, Any]) -> Any:
    return at((await read(conn, prebooking))["opens_at"])


@pytest.mark.parametrize(
    ("rules", "opens_at"),
    [
        ({"opens_at_local": "12:00"}, NOON),
        ({"booking_window_days": 6}, OPENS + DAY),
        ({"booking_window_days": 6, "opens_at_local": "00:00"}, OPENS + DAY - 8 * HOUR),
        # open by now
        ({"booking_window_days": 9}, EARLIER),
        ({"booking_window_days": None}, EARLIER),
    ],
)
async def test_an_opening_moves_with_the_schedule(
    conn: asyncpg.Connection, pitch: UUID, rules: dict[str, Any], opens_at: Any
) -> None:
    made = await prebook(conn, pitch, "ann")

    await change(conn, pitch, **rules)

    moved = await read(conn, made)
    assert (at(moved["opens_at"]), moved["status"], moved["version"]) == (opens_at, "pending", 2)
    assert ("pending", opens_at) in await openings_of(conn)
    assert await run(conn, pitch, now=opens_at - timedelta(microseconds=1)) == (0, 0, 0)
    assert await run_all(conn, pitch, opens_at) == (1, 0)


async def test_a_move_is_told(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")
    stream = await reader(conn, types=["prebooking.modified"])

    await change(conn, pitch, opens_at_local="12:00")

    (event,) = await stream.news()
    assert (event["sequence"], event["data"]) == (2, await read(conn, made))


async def test_an_opening_moves_back_and_forth(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")

    await change(conn, pitch, opens_at_local="12:00")
    await change(conn, pitch)

    assert await opening(conn, made) == OPENS
    # the job that was for noon finds nothing to do
    assert await run(conn, pitch) == (1, 0, 0)
    assert await run(conn, pitch, now=NOON) == (0, 0, 0)


async def test_an_opening_that_has_come_but_was_not_run_moves_to_the_one_to_come(
    conn: asyncpg.Connection, pitch: UUID
) -> None:
    made = await prebook(conn, pitch, "ann")

    await change(conn, pitch, now=OPENS + MINUTE, opens_at_local="12:00")

    assert await run(conn, pitch, now=OPENS + MINUTE) == (0, 0, 0)
    assert await opening(conn, made) == NOON
    assert await run(conn, pitch, now=NOON) == (1, 0, 0)


async def test_what_is_open_before_and_after_keeps_its_order(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = [await prebook(conn, pitch, ref) for ref in ("ann", "ben")]

    await change(conn, pitch, now=OPENS + MINUTE, booking_window_days=9)

    assert [(at(each["opens_at"]), each["version"]) for each in await read_all(conn, made)] == [(OPENS, 1)] * 2


async def test_other_rules_move_nothing(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")

    await change(conn, pitch, max_bookings=9, hold_minutes=3, opening_policy="lottery")

    assert (await read(conn, made))["version"] == 1


async def test_what_is_over_does_not_move(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")
    await give_up(conn, made)

    await change(conn, pitch, opens_at_local="12:00")

    assert (await read(conn, made))["version"] == 2
    assert await opening(conn, made) == OPENS


async def test_another_resource_is_left_alone(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, await make_pitch(conn), "ann")

    await change(conn, pitch, opens_at_local="12:00")

    assert await opening(conn, made) == OPENS


async def test_a_writer_that_does_not_say_when_moves_openings_too(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")

    await conn.execute("UPDATE schedules SET opens_at_local = '12:00' WHERE resource_id = $1", pitch)

    assert await opening(conn, made) == NOON


async def test_an_opening_at_a_provider_moves_with_its_rules_unless_it_was_given(conn: asyncpg.Connection) -> None:
    await put_provider(conn)
    await put_provider(conn, "other")
    by_rules, elsewhere = [await prebook_there(conn, name, "ann") for name in ("club", "other")]
    given = await prebook_there(conn, "club", "ben", p_opens_at=OPENS + MINUTE)
    assert at(given["opens_at"]) == OPENS + MINUTE

    await put_provider(conn, p_opens_at_local=at("2030-06-03T12:00").time(), p_now=EARLIER)
    assert [await opening(conn, each) for each in (by_rules, given, elsewhere)] == [NOON, OPENS + MINUTE, OPENS]
    await put_provider(conn, p_booking_window_days=6, p_now=EARLIER)
    assert await opening(conn, by_rules) == OPENS + DAY
    await put_provider(conn, p_booking_window_days=None, p_now=EARLIER)
    assert await opening(conn, by_rules) == EARLIER

    jobs = await conn.fetch("SELECT run_at FROM jobs WHERE job_type = 'execute_prebooking' ORDER BY run_at")
    ahead = timedelta(seconds=4)
    assert [row["run_at"] for row in jobs] == [EARLIER, OPENS - ahead, OPENS + MINUTE - ahead]


async def test_a_provider_named_as_a_resource_is_left_alone(conn: asyncpg.Connection, pitch: UUID) -> None:
    await conn.execute("UPDATE resources SET name = 'club'")
    await put_provider(conn)
    made = await prebook_there(conn, "club", "ann")

    await change(conn, pitch, opens_at_local="12:00")

    assert await opening(conn, made) == OPENS


# The zone of a resource. move_targets keeps the wall-clock times.


async def to_zone(conn: asyncpg.Connection, pitch: UUID, zone: str, now: Any = EARLIER) -> None:
    await call_row(conn, "update_resource", p_actor=ACTOR, p_resource_id=pitch, p_version=1, p_timezone=zone, p_now=now)


async def test_in_another_zone_it_is_the_same_time_of_day(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann", TEN, ELEVEN)

    await to_zone(conn, pitch, "America/New_York")

    assert await opening(conn, made) == at("2030-06-03T08:00-04:00")
    starts = await conn.fetchval("SELECT starts_at FROM prebookings")
    assert starts == [AT_TEN + 7 * HOUR, AT_TEN + 8 * HOUR]
    assert await run(conn, pitch, now=OPENS) == (0, 0, 0)
    assert await run(conn, pitch, now=OPENS + 7 * HOUR) == (1, 0, 0)
    assert (await read(conn, made))["booked_target"] == {"starts_at_local": TEN}
    assert await conn.fetchval("SELECT starts_at FROM bookings") == AT_TEN + 7 * HOUR


async def test_in_a_zone_where_it_is_open_already_it_fires_now(conn: asyncpg.Connection, pitch: UUID) -> None:
    made = await prebook(conn, pitch, "ann")

    await to_zone(conn, pitch, "Asia/Tokyo")

    assert await opening(conn, made) == EARLIER
    assert await run(conn, pitch, now=EARLIER) == (1, 0, 0)


async def test_a_time_that_the_new_zone_skips_stays_the_instant_it_was(conn: asyncpg.Connection) -> None:
    pitch = await make_pitch(conn)
    await conn.execute("UPDATE resources SET timezone = 'Asia/Tokyo'")
    made = await prebook(conn, pitch, "ann", SKIPPED, p_now=at("2030-03-01T00:00"))

    await conn.execute("UPDATE resources SET timezone = 'Europe/Athens'")

    assert await conn.fetchval("SELECT starts_at FROM prebookings") == [at("2030-03-31T03:30+09:00")]
    assert (await read(conn, made))["status"] == "pending"
