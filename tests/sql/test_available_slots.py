"""available_slots: what is free, what is left of it, and why not, in whichever zone; and the tag of all that."""

import json
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import Connect
from tests.factories import HOUR, TOMORROW, Factory
from tests.sql.support import NOBODY, TICK, at, call_row, cancel, refused
from tests.sql.test_slot_rules import make_rules

DAY = timedelta(days=1)
BEFORE = TOMORROW - DAY


async def available(conn: asyncpg.Connection, *resource_ids: UUID, **overrides: Any) -> Any:
    arguments = {"p_resource_ids": resource_ids, "p_from": BEFORE, "p_to": TOMORROW + 99 * DAY, "p_now": BEFORE}
    return json.loads((await call_row(conn, "available_slots", **(arguments | overrides)))["body"])


async def the_slot(conn: asyncpg.Connection, resource_id: UUID, **overrides: Any) -> Any:
    (slot,) = (await available(conn, resource_id, **overrides))["slots"]
    return slot


async def test_a_free_slot_says_what_is_left_of_it(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, starts_at=TOMORROW, max_bookings=3, max_units=10)
    await make.booking(slot_id, p_units=4)

    slot = await the_slot(conn, resource_id)

    times = (slot.pop("starts_at"), slot.pop("ends_at"))
    assert [at(time) for time in times] == [TOMORROW, TOMORROW + timedelta(hours=1)]
    assert slot == {
        "id": str(slot_id),
        "resource_id": str(resource_id),
        "max_bookings": 3,
        "max_units": 10,
        "remaining_bookings": 2,
        "remaining_units": 6,
        "available": True,
        "reason": None,
        "opens_at": None,
    }


async def test_the_range_takes_its_first_instant_and_leaves_its_last(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    for days in (0, 1, 2):
        await make.slot(resource_id, starts_at=TOMORROW + days * DAY)

    found = (await available(conn, resource_id, p_from=TOMORROW, p_to=TOMORROW + 2 * DAY))["slots"]
    barely = (await available(conn, resource_id, p_from=TOMORROW + TICK, p_to=TOMORROW + 2 * DAY + TICK))["slots"]

    assert [at(slot["starts_at"]) for slot in found] == [TOMORROW, TOMORROW + DAY]
    assert [at(slot["starts_at"]) for slot in barely] == [TOMORROW + DAY, TOMORROW + 2 * DAY]


async def test_slots_come_by_start_and_only_the_resources_own(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    late = await make.slot(resource_id, starts_at=TOMORROW + DAY)
    early = await make.slot(resource_id, starts_at=TOMORROW)
    await make.slot(starts_at=TOMORROW)

    found = (await available(conn, resource_id))["slots"]

    assert [slot["id"] for slot in found] == [str(early), str(late)]


async def test_a_legacy_slot_is_never_listed(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id)
    await conn.execute("UPDATE slots SET is_legacy = true")

    assert (await available(conn, resource_id))["slots"] == []


async def test_a_slot_without_places_is_full(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make.booking(await make.slot(resource_id, max_bookings=1))

    slot = await the_slot(conn, resource_id)

    assert (slot["available"], slot["reason"], slot["remaining_bookings"]) == (False, "full", 0)
    assert slot["remaining_units"] is None


async def test_a_slot_with_too_few_units_is_full_for_that_many(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make.booking(await make.slot(resource_id, max_bookings=9, max_units=5), p_units=2)

    assert (await the_slot(conn, resource_id, p_units=3))["available"]
    assert (await the_slot(conn, resource_id, p_units=4))["reason"] == "full"


async def test_a_slot_that_has_begun_is_past_full_or_not(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make.booking(await make.slot(resource_id, starts_at=TOMORROW, max_bookings=1))

    assert (await the_slot(conn, resource_id, p_now=TOMORROW - TICK))["reason"] == "full"
    assert (await the_slot(conn, resource_id, p_now=TOMORROW))["reason"] == "past"


@pytest.mark.parametrize(
    ("timezone", "starts_at", "shown"),
    [
        # the night the clocks go forward, then the night they go back
        ("Europe/Athens", "2027-03-28T00:00", "2027-03-28T02:00:00+02:00"),
        ("Europe/Athens", "2027-03-28T01:00", "2027-03-28T04:00:00+03:00"),
        ("Europe/Athens", "2026-10-25T00:30", "2026-10-25T03:30:00+03:00"),
        ("Europe/Athens", "2026-10-25T01:30", "2026-10-25T03:30:00+02:00"),
        ("Asia/Kathmandu", "2026-10-25T01:30", "2026-10-25T07:15:00+05:45"),
        ("America/St_Johns", "2026-01-05T12:00", "2026-01-05T08:30:00-03:30"),
        ("UTC", "2026-10-25T01:30", "2026-10-25T01:30:00+00:00"),
    ],
)
async def test_times_carry_the_offset_of_their_own_date(
    make: Factory, conn: asyncpg.Connection, timezone: str, starts_at: str, shown: str
) -> None:
    resource_id = await make.resource(timezone=timezone)
    start = at(starts_at)
    await make.slot(resource_id, starts_at=start)

    answer = await available(conn, resource_id, p_from=start, p_to=start + DAY)

    assert (answer["timezone"], answer["slots"][0]["starts_at"]) == (timezone, shown)


async def test_the_caller_may_ask_for_another_zone(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource(timezone="Europe/Athens")
    start = at("2026-07-01T12:00")
    await make.slot(resource_id, starts_at=start)

    answer = await available(conn, resource_id, p_from=start, p_to=start + DAY, p_tz="America/New_York")

    assert (answer["timezone"], answer["slots"][0]["starts_at"]) == ("America/New_York", "2026-07-01T08:00:00-04:00")


async def test_the_sessions_own_zone_is_left_as_it_was(make: Factory, conn: asyncpg.Connection) -> None:
    await conn.execute("SET TimeZone TO 'Asia/Tokyo'")

    await available(conn, await make.resource(timezone="Europe/Athens"))

    assert await conn.fetchval("SHOW TimeZone") == "Asia/Tokyo"


async def test_an_unknown_zone_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()

    with refused("22023"):
        await available(conn, resource_id, p_tz="Mars/Olympus")


async def test_an_unknown_resource_is_not_found(conn: asyncpg.Connection) -> None:
    with refused("SB009", "resource_not_found") as refusal:
        await available(conn, NOBODY)

    assert refusal.detail == {"resource_id": str(NOBODY)}


async def test_a_resource_without_slots_has_an_empty_list(make: Factory, conn: asyncpg.Connection) -> None:
    assert (await available(conn, await make.resource()))["slots"] == []


async def test_several_resources_are_one_list_by_start(make: Factory, conn: asyncpg.Connection) -> None:
    pitch, court, hall = [await make.resource(name, "Europe/Athens") for name in ("Pitch", "Court", "Hall")]
    last, first, middle = [
        await make.slot(resource_id, starts_at=TOMORROW + hours * HOUR)
        for resource_id, hours in ((pitch, 3), (pitch, 1), (court, 2))
    ]
    await make.slot(hall, starts_at=TOMORROW)

    answer = await available(conn, pitch, court)

    assert (answer["resource_id"], answer["timezone"]) == (None, "Europe/Athens")
    assert [(slot["id"], slot["resource_id"]) for slot in answer["slots"]] == [
        (str(first), str(pitch)),
        (str(middle), str(court)),
        (str(last), str(pitch)),
    ]


async def test_one_resource_is_named_beside_its_slots(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()

    assert (await available(conn, resource_id))["resource_id"] == str(resource_id)


async def test_an_app_one_version_older_names_one_resource_and_reads_the_first_column(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id, starts_at=TOMORROW)

    row = await call_row(
        conn, "available_slots", p_resource_id=resource_id, p_from=BEFORE, p_to=TOMORROW + DAY, p_now=BEFORE
    )

    assert json.loads(row[0]) == await available(conn, resource_id)


async def test_resources_of_different_zones_are_answered_in_utc_unless_told(
    make: Factory, conn: asyncpg.Connection
) -> None:
    start = at("2030-06-03T12:00")
    both = [await make.resource(timezone=zone) for zone in ("Europe/Athens", "Asia/Tokyo")]
    for resource_id in both:
        await make.slot(resource_id, starts_at=start)

    mixed = await available(conn, *both, p_from=start, p_to=start + DAY)
    told = await available(conn, *both, p_from=start, p_to=start + DAY, p_tz="America/New_York")

    assert (mixed["timezone"], {slot["starts_at"] for slot in mixed["slots"]}) == ("UTC", {"2030-06-03T12:00:00+00:00"})
    assert (told["timezone"], {slot["starts_at"] for slot in told["slots"]}) == (
        "America/New_York",
        {"2030-06-03T08:00:00-04:00"},
    )


async def test_one_unknown_resource_among_others_refuses_the_whole(make: Factory, conn: asyncpg.Connection) -> None:
    with refused("SB009", "resource_not_found") as refusal:
        await available(conn, await make.resource(), NOBODY)

    assert refusal.detail == {"resource_id": str(NOBODY)}


# A slot with a booking and a hold, whose window opened at midnight and whose notice ends an hour before.
START = at("2030-06-03T12:00")
OPENED = at("2030-06-02T00:00")
LAPSES = at("2030-06-02T10:15")
NOW = LAPSES - timedelta(minutes=5)


@pytest.fixture
async def resource_id(make: Factory, conn: asyncpg.Connection) -> UUID:
    found = await make.resource()
    await make_rules(conn, found, booking_window_days=1, opens_at_local=time(0), min_notice_minutes=60)
    slot_id = await make.slot(found, starts_at=START, max_bookings=3, max_units=9)
    await make.booking(slot_id, p_payment_method="pay_now", p_now=LAPSES - timedelta(minutes=15))
    await make.booking(slot_id, p_now=NOW)
    return found


async def tag_of(conn: asyncpg.Connection, resource_id: UUID, **overrides: Any) -> str:
    arguments = {"p_resource_ids": [resource_id], "p_from": OPENED, "p_to": START + DAY, "p_now": NOW}
    return str((await call_row(conn, "available_slots", **(arguments | overrides)))["etag"])


async def test_the_same_state_has_the_same_tag_whoever_asks_and_whenever(
    conn: asyncpg.Connection, connect: Connect, resource_id: UUID
) -> None:
    stranger = await connect()
    await stranger.execute("SET TimeZone TO 'Asia/Tokyo'")

    tags = {
        await tag_of(conn, resource_id),
        await tag_of(stranger, resource_id),
        await tag_of(conn, resource_id, p_now=LAPSES - TICK),
        await tag_of(conn, resource_id, p_from=NOW, p_to=START + TICK),
        await tag_of(conn, resource_id, p_tz="UTC"),
    }

    assert len(tags) == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE slots SET max_bookings = 4",
        "UPDATE slots SET max_units = 10",
        "UPDATE slots SET max_units = NULL",
        "UPDATE slots SET is_legacy = true",
        "UPDATE resources SET timezone = 'Europe/London'",
        "UPDATE schedules SET booking_window_days = 2",
        "UPDATE schedules SET booking_window_days = NULL",
        "UPDATE schedules SET opens_at_local = '01:00'",
        "UPDATE schedules SET min_notice_minutes = 1440 * 2",
        "UPDATE bookings SET status = 'cancelled' WHERE status = 'confirmed'",
        "UPDATE bookings SET status = 'expired' WHERE status = 'pending'",
        "UPDATE bookings SET units = 2",
        """INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings)
        SELECT resource_id, starts_at + interval '1 hour', ends_at + interval '1 hour', 3 FROM slots""",
    ],
)
async def test_each_change_of_what_is_answered_has_another_tag(
    conn: asyncpg.Connection, resource_id: UUID, change: str
) -> None:
    before = await tag_of(conn, resource_id)

    await conn.execute(change)

    assert await tag_of(conn, resource_id) != before


@pytest.mark.parametrize(
    "now", [OPENED - TICK, LAPSES, START - HOUR + TICK, START], ids=["not open", "lapsed", "notice", "past"]
)
async def test_time_alone_makes_another_tag_at_the_instant_it_changes_the_answer(
    conn: asyncpg.Connection, resource_id: UUID, now: datetime
) -> None:
    beside = now + TICK if now < OPENED else now - TICK

    assert await tag_of(conn, resource_id, p_now=now) != await tag_of(conn, resource_id, p_now=beside)


async def test_a_booking_makes_another_tag_and_its_cancellation_the_first_one_again(
    make: Factory, conn: asyncpg.Connection, resource_id: UUID
) -> None:
    before = await tag_of(conn, resource_id)

    booking_id = await make.booking(await conn.fetchval("SELECT id FROM slots"), p_now=NOW)
    between = await tag_of(conn, resource_id)
    await cancel(conn, booking_id, p_now=NOW)

    assert between != before
    assert await tag_of(conn, resource_id) == before


async def test_one_place_less_here_and_one_more_there_is_another_tag(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    here, there = [await make.slot(resource_id, starts_at=START + n * HOUR, max_bookings=2) for n in range(2)]
    booking_id = await make.booking(here, p_now=NOW)
    before = await tag_of(conn, resource_id)

    await cancel(conn, booking_id, p_now=NOW)
    await make.booking(there, p_now=NOW)

    assert await tag_of(conn, resource_id) != before


async def test_another_zone_is_another_tag_also_where_there_are_no_slots(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()

    assert await tag_of(conn, resource_id) != await tag_of(conn, resource_id, p_tz="Europe/Athens")


async def test_more_units_than_are_left_is_another_tag(conn: asyncpg.Connection, resource_id: UUID) -> None:
    assert await tag_of(conn, resource_id, p_units=8) != await tag_of(conn, resource_id)


async def test_who_has_the_answer_already_gets_no_body(conn: asyncpg.Connection, resource_id: UUID) -> None:
    arguments = {"p_resource_ids": [resource_id], "p_from": OPENED, "p_to": START + DAY, "p_now": NOW}
    tag = await tag_of(conn, resource_id)

    known = await call_row(conn, "available_slots", **arguments, p_etags=["0", tag])
    unknown = await call_row(conn, "available_slots", **arguments, p_etags=["0", tag[:-1]])

    assert (known["etag"], known["body"]) == (tag, None)
    assert unknown["etag"] == tag
    assert len(json.loads(unknown["body"])["slots"]) == 1
