"""put_schedule, refresh_future_schedule, schedule_plan: rules become slots, and no booking is lost by it."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.concurrency.rivals import assert_counters_equal_a_recount, begin, held_slots, until_waiting
from tests.conftest import Connect
from tests.factories import HOUR, Factory, create_booking, insert_booking, make_customer
from tests.sql.schedules import RULES, counts, everything, put_exception, put_schedule, refresh, slot_at, slots_of
from tests.sql.support import NOBODY, at, call_json, call_row, call_value, cancel, one, raw_booking, refused
from tests.sql.test_import_bookings import bring_in, row

MONDAY = at("2030-06-03T00:00")
NINE, TEN, ELEVEN = (MONDAY + hour * HOUR for hour in (9, 10, 11))
WEEK: dict[str, Any] = {"p_now": MONDAY, "horizon_days": 6}
# nine to twelve on one day: three slots
DAY: dict[str, Any] = {"p_now": MONDAY, "weekly": RULES["weekly"][:1], "horizon_days": 1}
LATER_HOURS = [{"weekday": 1, "opens": "09:30", "closes": "12:30"}]


async def limits(conn: asyncpg.Connection, resource_id: UUID) -> list[tuple[int, int | None]]:
    """Limit of bookings and of units of each slot that takes newcomers, by start."""
    rows = await conn.fetch(
        "SELECT max_bookings, max_units FROM slots WHERE resource_id = $1 AND NOT is_legacy ORDER BY starts_at",
        resource_id,
    )
    return [tuple(row) for row in rows]


async def is_legacy(conn: asyncpg.Connection, slot_id: UUID) -> bool:
    return bool(await conn.fetchval("SELECT is_legacy FROM slots WHERE id = $1", slot_id))


async def row_of(conn: asyncpg.Connection, slot_id: UUID) -> tuple[Any, ...]:
    """A slot's row, with the transaction that wrote it."""
    return await one(conn, "SELECT xmin::text, * FROM slots WHERE id = $1", slot_id)


async def on_offer(conn: asyncpg.Connection, resource_id: UUID) -> list[datetime]:
    """When the slots start that a newcomer can see."""
    answer = await call_row(
        conn,
        "available_slots",
        p_resource_ids=[resource_id],
        p_from=MONDAY,
        p_to=MONDAY + timedelta(days=90),
        p_now=MONDAY,
    )
    return [at(slot["starts_at"]) for slot in json.loads(answer["body"])["slots"]]


# Rules


async def test_rules_become_slots_up_to_the_horizon(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()

    plan = await put_schedule(conn, resource_id, **WEEK)

    assert counts(plan) == {"created": 21}
    slots = await slots_of(conn, resource_id)
    assert [start for start, *_ in slots] == [
        MONDAY + timedelta(days=day, hours=hour) for day in range(7) for hour in (9, 10, 11)
    ]


async def test_the_same_rules_again_change_nothing(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **WEEK)
    before = await everything(conn)

    plan = await put_schedule(conn, resource_id, **WEEK)

    assert counts(plan) == {"kept": 21}
    # a row that is locked says so in its xmax, which is not asked for
    assert await everything(conn) == before


async def test_rules_that_were_changed_are_another_version(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    versions = []
    for hold_minutes in (15, 15, 20, 15):
        await put_schedule(conn, resource_id, hold_minutes=hold_minutes, **WEEK)
        versions.append((await call_row(conn, "get_schedule", p_resource_id=resource_id))["schedule_version"])

    assert versions == [1, 1, 2, 3]


async def test_rules_are_read_as_they_were_put(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource(timezone="Europe/Athens")
    rules = RULES | {"max_units": 9, "opens_at_local": "08:30", "booking_window_days": 3, "offer_minutes": 5}
    await put_schedule(conn, resource_id, p_now=MONDAY, **rules)
    for day in (-1, 0, 2, 1):
        await put_exception(conn, resource_id, (MONDAY + timedelta(days=day)).date(), [], p_now=MONDAY)

    read = json.loads((await call_row(conn, "get_schedule", p_resource_id=resource_id, p_now=MONDAY))["body"])

    assert read.items() >= rules.items()
    assert (read["resource_id"], read["timezone"], read["version"]) == (str(resource_id), "Europe/Athens", 1)
    # yesterday's is of no interest any more
    assert read["exceptions"] == [{"date": f"2030-06-0{day}", "hours": []} for day in (3, 4, 5)]


async def test_a_resource_that_is_not_there_has_no_rules(conn: asyncpg.Connection) -> None:
    for dry_run in (True, False):
        with refused("SB009", "resource_not_found"):
            await put_schedule(conn, NOBODY, dry_run=dry_run)
    with refused("SB009", "resource_not_found"):
        await call_row(conn, "get_schedule", p_resource_id=NOBODY)


async def test_a_resource_without_rules_has_nothing_to_read_or_refresh(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()

    with refused("SB016", "schedule_not_found") as refusal:
        await call_row(conn, "get_schedule", p_resource_id=resource_id)
    with refused("SB016", "schedule_not_found"):
        await refresh(conn, resource_id, MONDAY)

    assert refusal.detail == {"resource_id": str(resource_id)}


# Slots that no longer fit


async def test_an_empty_slot_that_no_longer_fits_goes(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY)

    plan = await put_schedule(conn, resource_id, **DAY | {"weekly": LATER_HOURS})

    assert counts(plan) == {"created": 3, "removed": 3}
    starts = [start for start, *_ in await slots_of(conn, resource_id)]
    assert starts == [start + HOUR / 2 for start in (NINE, TEN, ELEVEN)]


async def test_a_booking_on_a_slot_that_no_longer_fits_is_kept_and_its_time_is_not_given_again(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id, customer_id = await make.resource(), await make_customer(conn)
    await put_schedule(conn, resource_id, max_bookings=1, **WEEK)
    slot_id = await conn.fetchval("SELECT id FROM slots WHERE starts_at = $1", MONDAY + 10 * HOUR)
    booking_id = await insert_booking(conn, slot_id, customer_id)

    plan = await put_schedule(conn, resource_id, max_bookings=1, slot_minutes=45, **WEEK)

    # 9:45-10:30 and 10:30-11:15 need what the booking has
    assert counts(plan) == {"created": 26, "legacy": 1, "removed": 20, "blocked": 2}
    assert [booking["id"] for booking in plan["affected_bookings"]] == [str(booking_id)]

    plan = await put_schedule(conn, resource_id, max_bookings=1, **WEEK)
    assert counts(plan) == {"created": 20, "updated": 1, "removed": 26}
    assert plan["affected_bookings"] == []


async def test_a_slot_that_is_legacy_already_is_not_news(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY)
    await make.booking(await slot_at(conn, resource_id, TEN), p_now=MONDAY)
    await put_schedule(conn, resource_id, **DAY | {"weekly": []})

    plan = await put_schedule(conn, resource_id, **DAY | {"weekly": []})

    assert (counts(plan), plan["affected_bookings"]) == ({}, [])


async def test_a_slot_whose_bookings_are_all_over_becomes_legacy_instead_of_vanishing(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY | {"max_bookings": 1})
    slot_id = await slot_at(conn, resource_id, TEN)
    await cancel(conn, await make.booking(slot_id, p_now=MONDAY), p_now=MONDAY)

    plan = await put_schedule(conn, resource_id, **DAY | {"max_bookings": 1, "weekly": LATER_HOURS})

    # nobody needs its time any more
    assert counts(plan) == {"created": 3, "legacy": 1, "removed": 2}
    assert plan["affected_bookings"] == []
    assert await is_legacy(conn, slot_id)


async def test_a_slot_that_somebody_waits_for_is_not_removed(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY)
    slot_id = await slot_at(conn, resource_id, TEN)
    assert not await call_value(conn, "slot_is_in_use", p_slot_id=slot_id)
    await conn.execute(
        "INSERT INTO waitlist_entries (slot_id, customer_id, status) VALUES ($1, $2, 'cancelled')",
        slot_id,
        await make_customer(conn),
    )

    plan = await put_schedule(conn, resource_id, **DAY | {"weekly": []})

    assert counts(plan) == {"legacy": 1, "removed": 2}
    assert await call_value(conn, "slot_is_in_use", p_slot_id=slot_id)


async def test_the_old_rules_put_legacy_slots_back(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY)
    slot_id = await slot_at(conn, resource_id, TEN)
    await make.booking(slot_id, p_now=MONDAY)
    await put_schedule(conn, resource_id, **DAY | {"weekly": []})
    assert await is_legacy(conn, slot_id)

    plan = await put_schedule(conn, resource_id, **DAY)

    assert counts(plan) == {"created": 2, "updated": 1}
    assert not await is_legacy(conn, slot_id)
    await make.booking(slot_id, p_now=MONDAY)


async def test_the_answer_lists_the_live_bookings_of_slots_that_become_legacy_and_no_others(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY | {"max_bookings": 9})
    later, sooner, kept = [await slot_at(conn, resource_id, start) for start in (ELEVEN, NINE, TEN)]
    statuses = ["confirmed", "pending", "cancelled", "expired", "failed"]
    live = [
        await raw_booking(conn, slot_id, status=status, expires_at=NINE, units=n + 1)
        for slot_id in (later, sooner)
        for n, status in enumerate(statuses)
    ]
    named = await make.booking(sooner, p_now=MONDAY, p_customer='{"ref": "bea"}', p_units=3)
    await make.booking(kept, p_now=MONDAY)

    hours = [{"weekday": 1, "opens": "10:00", "closes": "11:00"}]
    plan = await put_schedule(conn, resource_id, **DAY | {"max_bookings": 9, "weekly": hours})

    assert counts(plan) == {"kept": 1, "legacy": 2}
    assert [b["id"] for b in plan["affected_bookings"]] == [
        *sorted(map(str, [live[5], live[6], named])),
        *sorted(map(str, live[:2])),
    ]
    (bea,) = [b for b in plan["affected_bookings"] if b["customer_ref"] == "bea"]
    reference = await conn.fetchval("SELECT reference FROM bookings WHERE id = $1", named)
    assert {key: bea[key] for key in bea.keys() - {"starts_at", "ends_at"}} == {
        "id": str(named),
        "reference": reference,
        "slot_id": str(sooner),
        "customer_ref": "bea",
        "status": "confirmed",
        "units": 3,
    }
    assert (at(bea["starts_at"]), at(bea["ends_at"])) == (NINE, TEN)


async def test_a_legacy_slot_takes_no_newcomers_and_none_can_see_it(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY)
    slot_id = await slot_at(conn, resource_id, TEN)
    await make.booking(slot_id, p_now=MONDAY)
    await put_schedule(conn, resource_id, **DAY | {"weekly": LATER_HOURS})

    with refused("SB003", "slot_closed"):
        await make.booking(slot_id, p_now=MONDAY)

    assert await on_offer(conn, resource_id) == [start + HOUR / 2 for start in (NINE, TEN, ELEVEN)]


# Limits


async def test_limits_shrink_to_what_is_booked_and_no_further(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY | {"max_bookings": 5, "max_units": 20})
    for _ in range(3):
        await make.booking(await slot_at(conn, resource_id, TEN), p_now=MONDAY, p_units=4)

    plan = await put_schedule(conn, resource_id, **DAY | {"max_bookings": 1, "max_units": 2})

    assert (counts(plan), plan["affected_bookings"]) == ({"updated": 3}, [])
    assert await limits(conn, resource_id) == [(1, 2), (3, 12), (1, 2)]


async def test_limits_grow_with_the_rules(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY)
    await make.booking(await slot_at(conn, resource_id, TEN), p_now=MONDAY)

    plan = await put_schedule(conn, resource_id, **DAY | {"max_bookings": 7, "max_units": 8})

    assert counts(plan) == {"updated": 3}
    assert await limits(conn, resource_id) == [(7, 8)] * 3


async def test_a_limit_of_units_is_taken_back(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY | {"max_units": 8})
    await make.booking(await slot_at(conn, resource_id, TEN), p_now=MONDAY)

    assert counts(await put_schedule(conn, resource_id, **DAY)) == {"updated": 3}
    assert await limits(conn, resource_id) == [(2, None)] * 3


async def test_a_limit_that_only_bookings_held_up_follows_them_down(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY | {"max_bookings": 2})
    booked = [await make.booking(await slot_at(conn, resource_id, TEN), p_now=MONDAY) for _ in range(2)]
    await put_schedule(conn, resource_id, **DAY | {"max_bookings": 1})
    assert await limits(conn, resource_id) == [(1, None), (2, None), (1, None)]

    await cancel(conn, booked[0], p_now=MONDAY)

    assert counts(await refresh(conn, resource_id, MONDAY)) == {"kept": 2, "updated": 1}
    assert await limits(conn, resource_id) == [(1, None)] * 3


async def test_bookings_on_legacy_slots_take_their_places_and_units_from_the_new_ones(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY | {"max_bookings": 4, "max_units": 10})
    for units in (2, 5):
        await make.booking(await slot_at(conn, resource_id, TEN), p_now=MONDAY, p_units=units)

    rules = DAY | {"max_bookings": 4, "max_units": 10, "weekly": LATER_HOURS}
    plan = await put_schedule(conn, resource_id, **rules)

    assert counts(plan) == {"created": 3, "legacy": 1, "removed": 2}
    assert await limits(conn, resource_id) == [(2, 3), (2, 3), (4, 10)]


async def test_a_time_all_of_whose_units_are_taken_is_not_given_again(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY | {"max_bookings": 4, "max_units": 10})
    await make.booking(await slot_at(conn, resource_id, TEN), p_now=MONDAY, p_units=10)

    plan = await put_schedule(conn, resource_id, **DAY | {"max_bookings": 4, "max_units": 10, "weekly": LATER_HOURS})

    assert counts(plan) == {"created": 1, "legacy": 1, "removed": 2, "blocked": 2}


async def test_what_legacy_bookings_took_comes_back_once_they_are_cancelled(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY)
    booked = [await make.booking(await slot_at(conn, resource_id, TEN), p_now=MONDAY) for _ in range(2)]
    plan = await put_schedule(conn, resource_id, **DAY | {"weekly": LATER_HOURS})
    assert counts(plan) == {"created": 1, "legacy": 1, "removed": 2, "blocked": 2}

    await cancel(conn, booked[0], p_now=MONDAY)
    assert counts(await refresh(conn, resource_id, MONDAY)) == {"created": 2, "kept": 1}
    assert await limits(conn, resource_id) == [(1, None), (1, None), (2, None)]

    await cancel(conn, booked[1], p_now=MONDAY)
    assert counts(await refresh(conn, resource_id, MONDAY)) == {"kept": 1, "updated": 2}
    assert await limits(conn, resource_id) == [(2, None)] * 3


# Slots of other makers


async def test_slots_by_hand_are_left_alone_and_kept_where_the_rules_ask_for_the_same(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    by_hand = [
        await make.slot(resource_id, starts_at=start, minutes=minutes, max_bookings=9)
        for start, minutes in ((TEN, 60), (TEN, 90), (MONDAY + 20 * HOUR, 60))
    ]
    before = [await row_of(conn, slot_id) for slot_id in by_hand]

    assert counts(await put_schedule(conn, resource_id, **DAY)) == {"created": 2, "kept": 1}
    assert counts(await put_schedule(conn, resource_id, **DAY | {"weekly": []})) == {"removed": 2}
    assert [await row_of(conn, slot_id) for slot_id in by_hand] == before


async def test_bookings_on_slots_by_hand_take_nothing_from_the_others(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    by_hand = await make.slot(resource_id, starts_at=TEN + HOUR / 2, max_bookings=9)
    for _ in range(3):
        await make.booking(by_hand, p_now=MONDAY)

    assert counts(await put_schedule(conn, resource_id, **DAY)) == {"created": 3}
    assert await limits(conn, resource_id) == [(2, None), (2, None), (9, None), (2, None)]


async def test_imported_slots_become_the_schedules_own(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    rows = [row(str(start), resource=str(resource_id), starts_at=start) for start in (TEN, NINE + HOUR / 2)]
    await bring_in(conn, *rows, p_now=MONDAY)

    plan = await put_schedule(conn, resource_id, **DAY)

    # the one at half past nine takes a place of each of the two it overlaps
    assert counts(plan) == {"created": 2, "updated": 1, "legacy": 1}
    assert [b["starts_at"][11:16] for b in plan["affected_bookings"]] == ["09:30"]
    assert await limits(conn, resource_id) == [(1, None), (1, None), (2, None)]
    assert await one(conn, "SELECT source FROM slots WHERE starts_at = $1", TEN) == ("schedule",)
    await assert_counters_equal_a_recount(conn)


# Time


async def test_a_horizon_that_shrinks_and_grows_again_keeps_what_is_booked(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **WEEK)
    slot_id = await slot_at(conn, resource_id, TEN + timedelta(days=6))
    await make.booking(slot_id, p_now=MONDAY)

    assert counts(await put_schedule(conn, resource_id, **WEEK | {"horizon_days": 2})) == {
        "kept": 9,
        "legacy": 1,
        "removed": 11,
    }
    assert await is_legacy(conn, slot_id)
    assert counts(await put_schedule(conn, resource_id, **WEEK)) == {"created": 11, "kept": 9, "updated": 1}
    assert not await is_legacy(conn, slot_id)


async def test_the_horizon_moves_with_the_time(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **WEEK)

    plan = await refresh(conn, resource_id, MONDAY + timedelta(days=2, hours=10))

    # of the third day only eleven o'clock is still to come
    assert counts(plan) == {"created": 6, "kept": 13}
    assert len(await slots_of(conn, resource_id)) == 27


async def test_slots_that_have_begun_are_not_touched(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY)
    begun = [await slot_at(conn, resource_id, start) for start in (NINE, TEN)]
    await make.booking(begun[1], p_now=MONDAY)
    before = [await row_of(conn, slot_id) for slot_id in begun]

    plan = await put_schedule(conn, resource_id, **DAY | {"weekly": [], "max_bookings": 1, "p_now": TEN})

    assert counts(plan) == {"removed": 1}
    assert [await row_of(conn, slot_id) for slot_id in begun] == before


async def test_the_bookings_of_a_slot_that_has_begun_still_need_its_time(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY | {"max_bookings": 1})
    await make.booking(await slot_at(conn, resource_id, TEN), p_now=MONDAY)

    rules = DAY | {"max_bookings": 1, "slot_minutes": 30, "p_now": TEN + HOUR / 4}
    plan = await put_schedule(conn, resource_id, **rules)

    assert counts(plan) == {"created": 2, "removed": 1, "blocked": 1}


# Dry runs


async def test_a_dry_run_answers_the_same_plan_and_changes_nothing(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    fresh = await everything(conn)
    plan = await put_schedule(conn, resource_id, dry_run=True, **DAY)
    assert await everything(conn) == fresh
    assert plan | {"dry_run": False} == await put_schedule(conn, resource_id, **DAY)

    for start, customer in ((TEN, "ann"), (TEN, "bea"), (NINE, "ann")):
        slot_id = await slot_at(conn, resource_id, start)
        await make.booking(slot_id, p_now=MONDAY, p_customer=json.dumps({"ref": customer}))
    before = await everything(conn)
    rules = DAY | {"weekly": LATER_HOURS, "max_bookings": 2}
    plan = await put_schedule(conn, resource_id, dry_run=True, **rules)

    assert await everything(conn) == before
    assert counts(plan) == {"created": 1, "legacy": 2, "removed": 1, "blocked": 2}
    assert len(plan["affected_bookings"]) == 3
    assert plan["dry_run"]
    assert plan | {"dry_run": False} == await put_schedule(conn, resource_id, **rules)


# Rivals


async def test_a_booking_that_comes_in_between_is_seen(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id, rival = await make.resource(), await connect()
    await put_schedule(conn, resource_id, **DAY)
    slot_id = await slot_at(conn, resource_id, TEN)

    async with held_slots(conn, slot_id):
        (task,) = begin([put_schedule(rival, resource_id, **DAY | {"weekly": LATER_HOURS, "max_bookings": 1})])
        await until_waiting(conn, 1)
        booking_id = await make.booking(slot_id, p_now=MONDAY)
    plan = await asyncio.wait_for(task, 20)

    assert counts(plan) == {"created": 1, "legacy": 1, "removed": 2, "blocked": 2}
    assert [b["id"] for b in plan["affected_bookings"]] == [str(booking_id)]
    await assert_counters_equal_a_recount(conn)


@pytest.mark.parametrize(("is_booked", "sqlstate"), [(True, "SB003"), (False, "SB001")])
async def test_a_booking_that_comes_too_late_is_refused(
    make: Factory, conn: asyncpg.Connection, connect: Connect, is_booked: bool, sqlstate: str
) -> None:
    resource_id, rival = await make.resource(), await connect()
    await put_schedule(conn, resource_id, **DAY)
    slot_id = await slot_at(conn, resource_id, TEN)
    if is_booked:
        await make.booking(slot_id, p_now=MONDAY)

    async with conn.transaction():
        await put_schedule(conn, resource_id, **DAY | {"weekly": []})
        (task,) = begin([create_booking(rival, slot_id, p_now=MONDAY)])
        await until_waiting(conn, 1)
    with refused(sqlstate, {"SB003": "slot_closed", "SB001": "slot_not_found"}[sqlstate]):
        await asyncio.wait_for(task, 20)


async def test_the_later_of_two_changes_at_once_is_the_one_that_holds(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id, rival = await make.resource(), await connect()
    await put_schedule(conn, resource_id, **DAY)

    async with conn.transaction():
        await put_schedule(conn, resource_id, **DAY | {"max_bookings": 5})
        (task,) = begin([put_schedule(rival, resource_id, **DAY | {"weekly": LATER_HOURS})])
        await until_waiting(conn, 1)
    plan = await asyncio.wait_for(task, 20)

    assert counts(plan) == {"created": 3, "removed": 3}
    assert (await call_row(conn, "get_schedule", p_resource_id=resource_id))["schedule_version"] == 3


async def test_two_who_give_a_resource_its_first_rules_at_once_both_do(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id, rival = await make.resource(), await connect()

    async with conn.transaction():
        await put_schedule(conn, resource_id, **DAY)
        (task,) = begin([put_schedule(rival, resource_id, **DAY | {"weekly": LATER_HOURS})])
        await until_waiting(conn, 1)
    plan = await asyncio.wait_for(task, 20)

    assert counts(plan) == {"created": 3, "removed": 3}


# Many bookings


async def test_a_thousand_bookings_outlive_hours_that_shrink_around_them(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id, customer_id = await make.resource(), await make_customer(conn)
    always = [{"weekday": day, "opens": "00:00", "closes": "24:00"} for day in range(1, 8)]
    await put_schedule(conn, resource_id, **WEEK | {"weekly": always, "max_bookings": 8})
    await conn.execute(
        """INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status)
        SELECT s.resource_id, s.id, s.starts_at, s.ends_at, $1, 'confirmed'
        FROM slots s, generate_series(1, 8) ORDER BY s.starts_at LIMIT 1000""",
        customer_id,
    )
    before = await conn.fetch("SELECT * FROM bookings ORDER BY id")
    in_hours = {MONDAY + timedelta(days=day, hours=hour) for day in range(7) for hour in (9, 10, 11)}

    plan = await put_schedule(conn, resource_id, **WEEK | {"max_bookings": 2})

    assert len(before) == 1000
    assert await conn.fetch("SELECT * FROM bookings ORDER BY id") == before
    assert {b["id"] for b in plan["affected_bookings"]} == {
        str(row["id"]) for row in before if row["starts_at"] not in in_hours
    }
    # five days are full, and the small hours of the sixth
    assert len(plan["affected_bookings"]) == 1000 - 5 * 3 * 8
    for start, most, booked, legacy in await slots_of(conn, resource_id):
        assert legacy == (start not in in_hours)
        assert most == (8 if legacy else max(booked, 2))
    assert set(await on_offer(conn, resource_id)) == in_hours
    await assert_counters_equal_a_recount(conn)


# The audit trail


async def events(conn: asyncpg.Connection) -> list[tuple[str, str, str]]:
    """Subject, its id and event of each row of the trail, but for bookings and customers."""
    rows = await conn.fetch(
        """SELECT subject_type, subject_id, event FROM audit_log
        WHERE subject_type NOT IN ('booking', 'customer') ORDER BY id"""
    )
    return [tuple(row) for row in rows]


async def test_rules_and_their_changes_are_on_record_and_the_slots_they_make_are_not(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = str(await make.resource())

    await put_schedule(conn, UUID(resource_id), **DAY)
    await put_schedule(conn, UUID(resource_id), **DAY)
    await put_schedule(conn, UUID(resource_id), **DAY | {"weekly": LATER_HOURS})

    assert await events(conn) == [
        ("resource", resource_id, "resource.created"),
        ("schedule", resource_id, "schedule.created"),
        ("schedule", resource_id, "schedule.modified"),
    ]
    old, new, who = await one(
        conn,
        """SELECT old_values ->> 'weekly', new_values ->> 'weekly', performed_by_id
        FROM audit_log WHERE event = 'schedule.modified'""",
    )
    assert (json.loads(old), json.loads(new), who) == (DAY["weekly"], LATER_HOURS, "tester")


async def test_what_rules_do_to_a_slot_with_bookings_is_on_record(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **DAY)
    slot_id = await slot_at(conn, resource_id, TEN)
    await make.booking(slot_id, p_now=MONDAY)
    before = await events(conn)

    await put_schedule(conn, resource_id, **DAY | {"weekly": []})
    await put_schedule(conn, resource_id, **DAY | {"max_bookings": 7})

    modified = [("schedule", str(resource_id), "schedule.modified"), ("slot", str(slot_id), "slot.modified")]
    assert (await events(conn))[len(before) :] == modified * 2
    rows = await conn.fetch(
        """SELECT new_values -> 'is_legacy', new_values -> 'max_bookings', performed_by_id
        FROM audit_log WHERE event = 'slot.modified' ORDER BY id"""
    )
    assert [tuple(row) for row in rows] == [("true", "2", "tester"), ("false", "7", "tester")]


# Anything at all


def opening_hours(marks: list[int]) -> list[dict[str, str]]:
    """Hours between each two of these half-hours of a day."""
    clocks = [f"{mark // 2:02}:{mark % 2 * 30:02}" for mark in sorted(marks)]
    return [{"opens": opens, "closes": closes} for opens, closes in zip(clocks[::2], clocks[1::2], strict=False)]


any_hours = st.lists(st.integers(0, 48), max_size=4, unique=True).map(opening_hours)
any_rules = st.fixed_dictionaries(
    {
        "weekly": st.lists(any_hours, min_size=1, max_size=3).map(
            lambda days: [{"weekday": day, **entry} for day in range(1, 8) for entry in days[day % len(days)]]
        ),
        "slot_minutes": st.sampled_from([30, 45, 60, 90, 240]),
        "max_bookings": st.integers(1, 3),
        "max_units": st.none() | st.integers(1, 5),
        "horizon_days": st.integers(1, 3),
    }
)
any_exception = st.tuples(st.integers(0, 3), st.none() | any_hours)
MOVES = ["book", "book", "book", "hold", "cancel", "by_hand", "imported", "wait"]
any_move = st.tuples(st.sampled_from(MOVES), st.integers(0, 99))
any_step = st.tuples(any_rules, st.lists(any_exception, max_size=2), st.lists(any_move, min_size=3, max_size=10))
# an ordinary week, and days on which the clocks of one of the zones change
STARTS = [at(day) for day in ("2030-06-03T07:30", "2030-03-30T21:00", "2030-10-26T12:00", "2030-04-06T00:00")]


class House:
    """A resource whose rules and bookings change as hypothesis likes."""

    def __init__(self, make: Factory, resource_id: UUID, now: datetime) -> None:
        self.make, self.conn, self.resource_id, self.now = make, make.conn, resource_id, now

    async def slots(self) -> list[asyncpg.Record]:
        """Every slot that is not over, by start."""
        return await self.conn.fetch(
            "SELECT * FROM slots WHERE resource_id = $1 AND ends_at > $2 ORDER BY starts_at, ends_at",
            self.resource_id,
            self.now,
        )

    async def bookings(self) -> list[asyncpg.Record]:
        query = "SELECT * FROM bookings WHERE resource_id = $1 ORDER BY starts_at, id"
        return await self.conn.fetch(query, self.resource_id)

    async def move(self, name: str, n: int) -> None:
        """Do one thing that people do to their bookings and slots."""
        if name == "wait":
            self.now += n % 10 * HOUR
        elif name in {"by_hand", "imported"}:
            await self.conn.execute(
                """INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings, source)
                VALUES ($1, $2::timestamptz, $2::timestamptz + interval '60 minutes', 2, $3) ON CONFLICT DO NOTHING""",
                self.resource_id,
                self.now.replace(minute=0) + (1 + n % 48) * HOUR / 2,
                "manual" if name == "by_hand" else "import",
            )
        elif name == "cancel":
            live = [b for b in await self.bookings() if b["holds_place"] and b["starts_at"] > self.now]
            if live:
                booking = live[n % len(live)]
                await cancel(self.conn, booking["id"], p_version=booking["version"], p_now=self.now)
        else:
            await self.book(n, "pay_now" if name == "hold" else "pay_on_arrival")

    async def book(self, n: int, method: str) -> None:
        free = [s for s in await self.slots() if s["starts_at"] > self.now and not s["is_legacy"]]
        if free:
            slot = free[n % len(free)]
            try:
                await self.make.booking(slot["id"], p_units=1 + n % 3, p_payment_method=method, p_now=self.now)
            except asyncpg.PostgresError as error:
                assert error.sqlstate in {"SB002", "SB008"}, error  # noqa: PT017 - only some attempts are refused

    async def wanted(self, rules: dict[str, Any]) -> set[tuple[datetime, datetime]]:
        """The times that the rules give."""
        rows = await self.conn.fetch(
            """SELECT w.starts_at, w.ends_at FROM schedule_slots(
              jsonb_populate_record(NULL::schedules, $1),
              ARRAY(SELECT e FROM schedule_exceptions e WHERE e.resource_id = $2), $3
            ) w""",
            json.dumps(RULES | rules | {"resource_id": str(self.resource_id)}),
            self.resource_id,
            self.now,
        )
        return {(row["starts_at"], row["ends_at"]) for row in rows}

    async def taken_back(self, before: list[asyncpg.Record]) -> set[tuple[datetime, datetime]]:
        """The times of slots that were there before and are no more."""
        there = {slot["id"] for slot in await self.slots()}
        return {(slot["starts_at"], slot["ends_at"]) for slot in before if slot["id"] not in there}


async def put_twice(house: House, rules: dict[str, Any]) -> Any:
    """The plan of these rules, the same as a dry run, as it is, and as a repeat that finds nothing to do."""
    conn, p_now = house.conn, house.now
    before = await everything(conn)
    slots = await house.slots()
    dry = await put_schedule(conn, house.resource_id, dry_run=True, p_now=p_now, **rules)
    assert await everything(conn) == before

    plan = await put_schedule(conn, house.resource_id, p_now=p_now, **rules)
    assert dry == plan | {"dry_run": True}

    done = await everything(conn)
    again = await put_schedule(conn, house.resource_id, p_now=p_now, **rules)
    assert counts(again).keys() <= {"kept", "blocked"}
    # a slot that the rules ask for, but that has no room beside older bookings, is removed and blocked from then on
    without_room = await house.taken_back(slots) & await house.wanted(rules)
    assert (again["blocked"], again["affected_bookings"]) == (plan["blocked"] + len(without_room), [])
    assert again["kept"] == plan["kept"] + plan["updated"] + plan["created"]
    assert await everything(conn) == done
    return plan


async def assert_fits(house: House, rules: dict[str, Any], plan: Any) -> None:
    """The slots are those of the rules, each with the room that bookings on other slots leave."""
    wanted = await house.wanted(rules)
    made = [slot for slot in await house.slots() if slot["source"] != "manual"]
    old = [slot for slot in made if slot["is_legacy"] or slot["starts_at"] <= house.now]
    by_hand = {(s["starts_at"], s["ends_at"]) for s in await house.slots() if s["source"] == "manual"}
    open_now = {(slot["starts_at"], slot["ends_at"]): slot for slot in made if slot not in old}

    assert open_now.keys() <= wanted
    assert plan["kept"] + plan["updated"] + plan["created"] == len(open_now.keys() | (by_hand & wanted))
    for start, end in wanted - by_hand:
        beside = [s for s in old if s["starts_at"] < end and s["ends_at"] > start]
        room = rules["max_bookings"] - sum(s["booked_bookings"] for s in beside)
        units = rules["max_units"] and rules["max_units"] - sum(s["booked_units"] for s in beside)
        slot = open_now.get((start, end))
        if slot is None:
            assert room <= 0 or (units is not None and units <= 0)
        else:
            assert slot["max_bookings"] == max(room, slot["booked_bookings"])
            assert slot["max_units"] == (None if units is None else max(units, slot["booked_units"]))


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    steps=st.lists(any_step, min_size=2, max_size=3),
    start=st.sampled_from(STARTS),
    timezone=st.sampled_from(["UTC", "Europe/Athens", "Asia/Beirut", "Australia/Lord_Howe"]),
)
async def test_whatever_the_rules_no_booking_is_lost_and_no_time_is_given_twice(
    make: Factory, conn: asyncpg.Connection, steps: list[Any], start: datetime, timezone: str
) -> None:
    house = House(make, await make.resource(timezone=timezone), start)
    await put_schedule(conn, house.resource_id, p_now=start)

    for rules, exceptions, moves in steps:
        for name, n in moves:
            await house.move(name, n)
        for days, hours in exceptions:
            day = (house.now + timedelta(days=days)).date()
            dry = await put_exception(conn, house.resource_id, day, hours, p_dry_run=True, p_now=house.now)
            plan = await put_exception(conn, house.resource_id, day, hours, p_now=house.now)
            assert dry == plan | {"dry_run": True}

        before = await house.bookings()
        were_open = {slot["id"] for slot in await house.slots() if not slot["is_legacy"]}
        plan = await put_twice(house, rules)

        assert await house.bookings() == before
        legacy = {slot["id"] for slot in await house.slots() if slot["is_legacy"]} & were_open
        assert plan["legacy"] == len(legacy)
        assert [b["id"] for b in plan["affected_bookings"]] == [
            str(b["id"]) for b in before if b["slot_id"] in legacy and b["status"] in {"pending", "confirmed"}
        ]
        await assert_fits(house, rules, plan)
    assert (await call_json(conn, "check_invariants"))["violations"] == []
