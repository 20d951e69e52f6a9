"""create_recurring_bookings and recurring_slots: the same wall-clock time again and again, and a report on each."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from tests.factories import ACTOR, HOUR, Factory
from tests.sql.schedules import put_exception, put_schedule
from tests.sql.support import NOBODY, at, call_row, occupancy, one, refused
from tests.sql.test_create_bookings_safe import contents

ATHENS = ZoneInfo("Europe/Athens")
NOW = at("2030-03-01T00:00")
DAY = timedelta(days=1)
KEY: dict[str, Any] = {"p_idempotency_key": "k", "p_request_hash": b"same"}


def local(text: str, fold: int = 0) -> datetime:
    """The instant of that wall-clock time in Athens."""
    return datetime.fromisoformat(text).replace(tzinfo=ATHENS, fold=fold).astimezone(UTC)


async def recur(conn: asyncpg.Connection, slot_id: UUID, **overrides: Any) -> asyncpg.Record:
    """create_recurring_bookings, weekly where nothing else is said."""
    arguments = {
        "p_actor": ACTOR,
        "p_slot_id": slot_id,
        "p_customer": '{"ref": "ann"}',
        "p_every_days": 7,
        "p_count": 3,
        "p_now": NOW,
    }
    return await call_row(conn, "create_recurring_bookings", **(arguments | overrides))


async def report(conn: asyncpg.Connection, slot_id: UUID, **overrides: Any) -> list[dict[str, Any]]:
    """What it reports on each occurrence."""
    body = json.loads((await recur(conn, slot_id, **overrides))["body"])
    occurrences: list[dict[str, Any]] = body["occurrences"]
    assert [each["occurrence"] for each in occurrences] == list(range(1, len(occurrences) + 1))
    assert body["booked"] == sum(each["booking"] is not None for each in occurrences)
    assert all((each["booking"] is None) == (each["code"] is not None) for each in occurrences)
    return occurrences


async def codes(conn: asyncpg.Connection, slot_id: UUID, **overrides: Any) -> list[str | None]:
    """Of each occurrence, None where it was booked."""
    return [each["code"] for each in await report(conn, slot_id, **overrides)]


async def weekly(make: Factory, count: int = 3, **limits: Any) -> list[UUID]:
    """Slots of one resource in Athens at the same wall-clock time, a week apart, across the change of the clocks."""
    resource_id = await make.resource(timezone="Europe/Athens")
    days = [date(2030, 3, 25) + n * 7 * DAY for n in range(count)]
    return [await make.slot(resource_id, starts_at=local(f"{day}T10:00"), **limits) for day in days]


async def occurrences(conn: asyncpg.Connection, slot_id: UUID, every_days: int, count: int) -> list[tuple[Any, ...]]:
    """What recurring_slots finds: wall-clock time and slot."""
    rows = await conn.fetch(
        """SELECT o.occurrence, o.local_start, o.slot_id
        FROM slots s CROSS JOIN LATERAL recurring_slots(s, $2, $3) o WHERE s.id = $1""",
        slot_id,
        every_days,
        count,
    )
    assert [row["occurrence"] for row in rows] == list(range(1, count + 1))
    return [(row["local_start"], row["slot_id"]) for row in rows]


async def test_a_series_keeps_its_wall_clock_time_when_the_clocks_change(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_ids = await weekly(make)

    found = await report(conn, slot_ids[0])

    assert [each["local_start"] for each in found] == [
        "2030-03-25T10:00:00", "2030-04-01T10:00:00", "2030-04-08T10:00:00",
    ]  # fmt: skip
    starts = [at(each["booking"]["starts_at"]) for each in found]
    assert starts[1] - starts[0] == 7 * DAY - HOUR
    assert starts[2] - starts[1] == 7 * DAY
    assert [each["slot_id"] for each in found] == [str(slot_id) for slot_id in slot_ids]


async def test_each_occurrence_is_a_booking_of_its_own(make: Factory, conn: asyncpg.Connection) -> None:
    slot_ids = await weekly(make, max_units=5)

    found = await report(conn, slot_ids[0], p_units=4, p_metadata='{"team": 7}', p_payment_method="pay_now")

    made = [each["booking"] for each in found]
    assert len({booking["id"] for booking in made}) == 3
    assert [booking["slot_id"] for booking in made] == [str(slot_id) for slot_id in slot_ids]
    assert {(b["status"], b["units"], b["customer_ref"], at(b["expires_at"])) for b in made} == {
        ("pending", 4, "ann", NOW + timedelta(minutes=15))
    }
    assert [booking["metadata"] for booking in made] == [{"team": 7}] * 3
    assert await one(conn, "SELECT count(*), count(DISTINCT customer_id) FROM bookings") == (3, 1)


@pytest.mark.parametrize(("every_days", "count", "days"), [(1, 3, [0, 1, 2]), (2, 3, [0, 2, 4]), (14, 2, [0, 14])])
async def test_a_series_steps_as_many_days_and_as_often_as_it_was_told(
    make: Factory, conn: asyncpg.Connection, every_days: int, count: int, days: list[int]
) -> None:
    resource_id = await make.resource()
    slot_ids = {n: await make.slot(resource_id, starts_at=NOW + n * DAY + HOUR) for n in range(15)}

    found = await report(conn, slot_ids[0], p_every_days=every_days, p_count=count)

    assert [each["slot_id"] for each in found] == [str(slot_ids[n]) for n in days]


async def open_all_week(make: Factory, **rules: Any) -> UUID:
    """A resource in Athens that is open from 2:00 to 6:00 every day."""
    resource_id = await make.resource(timezone="Europe/Athens")
    hours = [{"weekday": day, "opens": "02:00", "closes": "06:00"} for day in range(1, 8)]
    await put_schedule(make.conn, resource_id, weekly=hours, horizon_days=60, p_now=NOW, **rules)
    return resource_id


async def slot_at(conn: asyncpg.Connection, start: datetime) -> UUID:
    return UUID(str(await conn.fetchval("SELECT id FROM slots WHERE starts_at = $1", start)))


async def test_an_hour_that_the_clocks_skip_has_no_slot(make: Factory, conn: asyncpg.Connection) -> None:
    await open_all_week(make)
    first = await slot_at(conn, local("2030-03-24T03:00"))

    found = await report(conn, first, p_on_conflict="skip")

    assert [each["code"] for each in found] == [None, "slot_not_found", None]
    skipped = found[1]
    assert (skipped["local_start"], skipped["slot_id"]) == ("2030-03-31T03:00:00", None)
    # the next is at three again, not at four
    assert at(found[2]["booking"]["starts_at"]) == local("2030-04-07T03:00")


async def test_a_closed_day_has_no_slot(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await open_all_week(make)
    await put_exception(conn, resource_id, date(2030, 3, 17), [], p_now=NOW)

    first = await slot_at(conn, local("2030-03-10T04:00"))

    assert await codes(conn, first, p_on_conflict="skip") == [None, "slot_not_found", None]


async def test_a_series_may_begin_in_the_second_pass_of_an_hour(make: Factory, conn: asyncpg.Connection) -> None:
    # at 4:00 on the 27th of October 2030, the clocks of Athens go back to 3:00
    resource_id = await make.resource(timezone="Europe/Athens")
    passes = [await make.slot(resource_id, starts_at=local("2030-10-27T03:00", fold)) for fold in (0, 1)]
    following = await make.slot(resource_id, starts_at=local("2030-11-03T03:00"))
    three = datetime.fromisoformat("2030-10-27T03:00")

    for first in passes:
        assert await occurrences(conn, first, 7, 2) == [(three, first), (three + 7 * DAY, following)]


async def test_of_an_hour_that_comes_twice_a_series_takes_the_pass_that_a_schedule_opens(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource(timezone="Europe/Athens")
    first = await make.slot(resource_id, starts_at=local("2030-10-20T03:00"))
    passes = [await make.slot(resource_id, starts_at=local("2030-10-27T03:00", fold)) for fold in (0, 1)]

    found = await occurrences(conn, first, 7, 2)

    assert found[1][1] == passes[0]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Athens", "America/New_York"])
async def test_an_occurrence_lasts_as_long_as_the_first_whatever_zone_the_session_is_in(
    make: Factory, conn: asyncpg.Connection, zone: str
) -> None:
    # a day from noon, and of two from the second noon on one lasts until the next noon, which is an hour more
    resource_id = await make.resource(timezone="Europe/Athens")
    noon, change = local("2030-10-19T12:00"), local("2030-10-26T12:00")
    first = await make.slot(resource_id, starts_at=noon, minutes=24 * 60)
    await make.slot(resource_id, starts_at=change, minutes=25 * 60)
    right = await make.slot(resource_id, starts_at=change, minutes=24 * 60)
    await conn.execute(f"SET TimeZone TO '{zone}'")

    assert [slot_id for _, slot_id in await occurrences(conn, first, 7, 2)] == [first, right]


async def test_a_slot_of_another_length_or_resource_is_no_occurrence(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    first = await make.slot(resource_id, starts_at=NOW + HOUR)
    await make.slot(resource_id, starts_at=NOW + HOUR + 7 * DAY, minutes=30)
    await make.slot(starts_at=NOW + HOUR + 14 * DAY)

    assert [slot_id for _, slot_id in await occurrences(conn, first, 7, 3)] == [first, None, None]


async def test_refuse_is_all_or_none_and_names_the_occurrence_that_has_no_slot(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_ids = await weekly(make, 2)
    before = await contents(conn)

    with refused("SB001", "slot_not_found") as refusal:
        await recur(conn, slot_ids[0], **KEY)

    assert refusal.detail == {"occurrence": 3, "local_start": "2030-04-08T10:00:00"}
    assert await contents(conn) == before


async def test_refuse_tells_which_slot_is_full(make: Factory, conn: asyncpg.Connection) -> None:
    slot_ids = await weekly(make)
    await make.booking(slot_ids[1], p_customer='{"ref": "owner"}', p_now=NOW)
    before = await contents(conn)

    with refused("SB002", "slot_full") as refusal:
        await recur(conn, slot_ids[0], p_customer='{"ref": "newcomer"}', **KEY)

    assert refusal.detail["slot_id"] == str(slot_ids[1])
    assert await contents(conn) == before


async def test_skip_books_what_can_be_had_and_says_why_not_of_the_rest(make: Factory, conn: asyncpg.Connection) -> None:
    slot_ids = await weekly(make, 5, max_units=4)
    await make.booking(slot_ids[0], p_customer='{"ref": "owner"}', p_now=NOW)
    await make.booking(slot_ids[1], p_customer='{"ref": "owner"}', p_units=2, p_now=NOW)
    await conn.execute("UPDATE slots SET max_bookings = 2 WHERE id = $1", slot_ids[1])
    await conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", slot_ids[2])

    found = await report(conn, slot_ids[0], p_units=3, p_count=6, p_on_conflict="skip")

    assert [each["code"] for each in found] == [
        "slot_full", "insufficient_units", "slot_closed", None, None, "slot_not_found",
    ]  # fmt: skip
    assert [each["slot_id"] for each in found] == [*map(str, slot_ids), None]
    assert [await occupancy(conn, slot_id) for slot_id in slot_ids] == [(1, 1), (1, 2), (0, 0), (1, 3), (1, 3)]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"max_bookings_per_customer": 2}, [None, None, "limit_reached"]),
        ({"booking_window_days": 30}, [None, "not_open_yet", "not_open_yet"]),
        ({"min_notice_minutes": 24 * 60 * 25}, ["too_late", None, None]),
    ],
)
async def test_skip_obeys_the_rules_of_the_house_at_each_occurrence(
    make: Factory, conn: asyncpg.Connection, rules: dict[str, Any], expected: list[str | None]
) -> None:
    slot_ids = await weekly(make)
    resource_id = await conn.fetchval("SELECT resource_id FROM slots LIMIT 1")
    await put_schedule(conn, resource_id, p_now=NOW, horizon_days=1, **rules)

    assert await codes(conn, slot_ids[0], p_on_conflict="skip") == expected


async def test_an_admin_who_gives_a_reason_passes_over_them(make: Factory, conn: asyncpg.Connection) -> None:
    slot_ids = await weekly(make)
    resource_id = await conn.fetchval("SELECT resource_id FROM slots LIMIT 1")
    await put_schedule(conn, resource_id, p_now=NOW, horizon_days=1, max_bookings_per_customer=1)

    assert await codes(conn, slot_ids[0], p_actor='{"type": "admin", "id": "x", "reason": "a club"}') == [None] * 3


async def test_a_slot_that_has_begun_is_skipped_like_any_other(make: Factory, conn: asyncpg.Connection) -> None:
    slot_ids = await weekly(make)

    found = await codes(conn, slot_ids[0], p_on_conflict="skip", p_now=local("2030-03-25T10:00"))

    assert found == ["slot_in_past", None, None]


async def test_a_customer_who_is_new_is_one_customer_also_when_the_first_is_skipped(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    slot_ids = [await make.slot(resource_id, starts_at=NOW + HOUR + n * 7 * DAY) for n in range(3)]
    await make.booking(slot_ids[0], p_customer='{"ref": "owner"}', p_now=NOW)

    await recur(conn, slot_ids[0], p_on_conflict="skip", p_customer='{"ref": "new", "name": "New"}')

    assert await one(conn, "SELECT count(*) FROM customers WHERE ref = 'new'") == (1,)


@pytest.mark.parametrize("on_conflict", ["refuse", "skip"])
async def test_a_series_of_which_nothing_can_be_had_is_refused_and_leaves_nothing_behind(
    make: Factory, conn: asyncpg.Connection, on_conflict: str
) -> None:
    slot_ids = await weekly(make)
    for slot_id in slot_ids:
        await make.booking(slot_id, p_customer='{"ref": "owner"}', p_now=NOW)
    before = await contents(conn)

    with refused("SB002", "slot_full") as refusal:
        await recur(conn, slot_ids[0], p_on_conflict=on_conflict, p_customer='{"ref": "new"}', **KEY)

    # refuse speaks of the first that cannot be had, skip of its last hope
    assert refusal.detail["slot_id"] == str(slot_ids[0 if on_conflict == "refuse" else 2])
    assert await contents(conn) == before


async def test_a_slot_that_does_not_exist_begins_no_series(conn: asyncpg.Connection) -> None:
    with refused("SB001", "slot_not_found") as refusal:
        await recur(conn, NOBODY, p_on_conflict="skip")

    assert refusal.detail == {"slot_id": str(NOBODY)}


async def test_a_series_repeated_is_one_series_and_one_answer(make: Factory, conn: asyncpg.Connection) -> None:
    slot_ids = await weekly(make)

    first = await recur(conn, slot_ids[0], **KEY)
    again = await recur(conn, slot_ids[0], **KEY)

    assert (first["replayed"], again["replayed"], again["body"]) == (False, True, first["body"])
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 3


async def test_a_key_serves_one_series(make: Factory, conn: asyncpg.Connection) -> None:
    slot_ids = await weekly(make, max_bookings=9)
    await recur(conn, slot_ids[0], **KEY)

    with refused("SB010", "idempotency_conflict"):
        await recur(conn, slot_ids[0], p_idempotency_key="k", p_request_hash=b"other")

    assert await conn.fetchval("SELECT count(*) FROM bookings") == 3


async def test_a_series_takes_no_place_that_somebody_waits_for(make: Factory, conn: asyncpg.Connection) -> None:
    slot_ids = await weekly(make)
    await make.booking(slot_ids[1], p_payment_method="pay_now", p_now=NOW)
    await call_row(
        conn, "join_waitlist", p_actor=ACTOR, p_slot_id=slot_ids[1], p_customer='{"ref": "waiting"}', p_now=NOW
    )

    assert await codes(conn, slot_ids[0], p_on_conflict="skip", p_now=NOW + HOUR) == [None, "slot_full", None]


async def test_a_token_books_a_series_for_its_own_customer(make: Factory, conn: asyncpg.Connection) -> None:
    actor = '{"type": "customer", "id": "customer:ann", "customer_ref": "ann"}'

    found = await report(conn, (await weekly(make))[0], p_actor=actor, p_customer='{"ref": "ben"}')

    assert {each["booking"]["customer_ref"] for each in found} == {"ann"}
