"""slot_offers, given_slots and set_answer_timezone: what is listed as free is what is taken, and the reason is true."""

import json
from datetime import datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import HOUR, Factory, create_booking, make_customer
from tests.sql.support import NOBODY, TICK, at, call, call_json, call_row, call_value, raw_booking, refused
from tests.sql.test_slot_rules import make_rules

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
NOW = at("2030-06-02T12:00")
START = NOW + DAY

# how a refused booking reads in availability
REASONS = {
    "SB002": "full",
    "SB003": "closed",
    "SB004": "past",
    "SB008": "full",
    "SB011": "not_open",
    "SB015": "notice",
}


async def offers(conn: asyncpg.Connection, resource_id: UUID, **overrides: Any) -> list[asyncpg.Record]:
    arguments = {
        "p_resource_ids": [resource_id],
        "p_from": NOW - DAY,
        "p_to": NOW + 99 * DAY,
        "p_slot_ids": None,
        "p_now": NOW,
    }
    return await call(conn, "slot_offers", **(arguments | overrides))


async def offer_of(conn: asyncpg.Connection, slot_id: UUID, **overrides: Any) -> asyncpg.Record:
    """The slot's own offer, legacy or not."""
    arguments = {"p_resource_ids": None, "p_from": None, "p_to": None, "p_slot_ids": [slot_id], "p_now": NOW}
    return await call_row(conn, "slot_offers", **(arguments | overrides))


async def stand_in_line(conn: asyncpg.Connection, slot_id: UUID, units: int = 1, ref: str = "waiting") -> None:
    await conn.execute(
        "INSERT INTO waitlist_entries (slot_id, customer_id, units) VALUES ($1, $2, $3)",
        slot_id,
        await make_customer(conn, ref),
        units,
    )


@pytest.mark.parametrize(
    ("rules", "change", "now", "reason"),
    [
        ({}, "SELECT 1", NOW, None),
        ({}, "UPDATE slots SET is_legacy = true", NOW, "closed"),
        ({}, "SELECT 1", START, "past"),
        ({"min_notice_minutes": 60}, "SELECT 1", START - HOUR, None),
        ({"min_notice_minutes": 60}, "SELECT 1", START - HOUR + TICK, "notice"),
        ({"booking_window_days": 1, "opens_at_local": time(15)}, "SELECT 1", NOW - TICK, "not_open"),
        ({"booking_window_days": 1, "opens_at_local": time(15)}, "SELECT 1", NOW, None),
    ],
)
async def test_a_slot_is_free_or_says_why_not(
    make: Factory, conn: asyncpg.Connection, rules: dict[str, Any], change: str, now: datetime, reason: str | None
) -> None:
    resource_id = await make.resource(timezone="Europe/Athens")
    await make_rules(conn, resource_id, **rules)
    slot_id = await make.slot(resource_id, starts_at=START)
    await conn.execute(change)

    offer = await offer_of(conn, slot_id, p_now=now)

    assert (offer["available"], offer["reason"]) == (reason is None, reason)
    assert offer["opens_at"] == (NOW if rules.get("booking_window_days") else None)


async def test_a_slot_that_is_full_as_well_tells_the_reason_that_lasts(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, starts_at=START)
    await make.booking(slot_id, p_now=NOW)
    assert (await offer_of(conn, slot_id))["reason"] == "full"

    await make_rules(conn, resource_id, booking_window_days=0)
    assert (await offer_of(conn, slot_id))["reason"] == "not_open"
    await conn.execute("UPDATE schedules SET min_notice_minutes = 10000")
    assert (await offer_of(conn, slot_id))["reason"] == "notice"
    assert (await offer_of(conn, slot_id, p_now=START))["reason"] == "past"
    await conn.execute("UPDATE slots SET is_legacy = true")
    assert (await offer_of(conn, slot_id, p_now=START))["reason"] == "closed"


async def test_the_rules_of_one_resource_bind_no_other(make: Factory, conn: asyncpg.Connection) -> None:
    strict, free = await make.resource(), await make.resource()
    await make_rules(conn, strict, booking_window_days=0)
    for resource_id in (strict, free):
        await make.slot(resource_id, starts_at=START)

    found = await call(
        conn,
        "slot_offers",
        p_resource_ids=[strict, free],
        p_from=NOW,
        p_to=START + TICK,
        p_slot_ids=None,
        p_now=NOW,
    )

    assert {row["resource_id"]: row["reason"] for row in found} == {strict: "not_open", free: None}


async def test_a_legacy_slot_is_hidden_from_ranges_and_closed_by_id(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, starts_at=START)
    await conn.execute("UPDATE slots SET is_legacy = true")

    assert await offers(conn, resource_id) == []
    assert (await offer_of(conn, slot_id))["reason"] == "closed"


async def test_slots_come_by_start_then_end_then_id(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    late = await make.slot(resource_id, starts_at=START + HOUR)
    long = await make.slot(resource_id, starts_at=START, minutes=90)
    same = sorted([await make.slot(starts_at=START) for _ in range(2)])

    found = await call(
        conn,
        "slot_offers",
        p_resource_ids=[resource_id],
        p_from=START,
        p_to=START + DAY,
        p_slot_ids=same,
        p_now=NOW,
    )

    assert [row["id"] for row in found] == [*same, long, late]


async def test_a_lapsed_hold_counts_as_free_before_any_sweep(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=2, max_units=5)
    await make.booking(slot_id, p_units=3, p_payment_method="pay_now", p_now=NOW - 15 * MINUTE)
    await make.booking(slot_id, p_units=1, p_now=NOW)

    running = await offer_of(conn, slot_id, p_now=NOW - TICK)
    lapsed = await offer_of(conn, slot_id, p_units=4)

    assert (running["remaining_bookings"], running["remaining_units"], running["reason"]) == (0, 1, "full")
    assert (lapsed["remaining_bookings"], lapsed["remaining_units"], lapsed["reason"]) == (1, 4, None)
    assert await conn.fetchval("SELECT count(*) FROM bookings WHERE status = 'pending'") == 1


async def test_a_lapsed_hold_is_not_free_to_others_while_somebody_waits_for_it(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=1)
    await make.booking(slot_id, p_payment_method="pay_now", p_now=NOW - 15 * MINUTE)
    await stand_in_line(conn, slot_id)

    assert (await offer_of(conn, slot_id))["reason"] == "full"
    with refused("SB002", "slot_full"):
        await create_booking(conn, slot_id, p_customer='{"ref": "newcomer"}', p_now=NOW)


async def test_who_has_left_the_line_claims_nothing(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=1)
    await make.booking(slot_id, p_payment_method="pay_now", p_now=NOW - 15 * MINUTE)
    await stand_in_line(conn, slot_id)
    await conn.execute("UPDATE waitlist_entries SET status = 'cancelled'")

    assert (await offer_of(conn, slot_id))["available"]
    await create_booking(conn, slot_id, p_customer='{"ref": "newcomer"}', p_now=NOW)


class State(NamedTuple):
    """A slot, its rules, what is booked of it, and what somebody wants."""

    is_legacy: bool
    starts_in: timedelta
    notice: int
    window_days: int | None
    max_bookings: int
    max_units: int | None
    booked: list[tuple[str, int]]
    units: int


# a window of one day opens at NOW for tomorrow's slot: 15:00 of that zone
states = st.builds(
    State,
    is_legacy=st.sampled_from([False, False, False, True]),
    starts_in=st.sampled_from([-TICK, timedelta(0), TICK, HOUR - TICK, HOUR, DAY, DAY + 12 * HOUR]),
    notice=st.sampled_from([0, 60]),
    window_days=st.sampled_from([None, 0, 1]),
    max_bookings=st.integers(1, 3),
    max_units=st.one_of(st.none(), st.integers(1, 4)),
    booked=st.lists(st.tuples(st.sampled_from(["confirmed", "held", "lapsed"]), st.integers(1, 3)), max_size=3),
    units=st.integers(1, 4),
)
on_one_connection = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


async def build(make: Factory, conn: asyncpg.Connection, state: State) -> UUID:
    resource_id = await make.resource(timezone="Europe/Athens")
    await make_rules(
        conn,
        resource_id,
        min_notice_minutes=state.notice,
        booking_window_days=state.window_days,
        opens_at_local=time(15),
    )
    slot_id = await make.slot(
        resource_id, starts_at=NOW + state.starts_in, max_bookings=state.max_bookings, max_units=state.max_units
    )
    places, room = state.max_bookings, state.max_units if state.max_units is not None else 99
    for kind, units in state.booked:
        if places > 0 and units <= room:
            places, room = places - 1, room - units
            ends = NOW if kind == "lapsed" else NOW + TICK
            status = "confirmed" if kind == "confirmed" else "pending"
            await raw_booking(conn, slot_id, status=status, expires_at=ends, units=units)
    await conn.execute("UPDATE slots SET is_legacy = $2 WHERE id = $1", slot_id, state.is_legacy)
    return slot_id


async def outcome(conn: asyncpg.Connection, slot_id: UUID, units: int) -> str | None:
    """How availability would call what became of a booking of that many units; None for one that was made."""
    try:
        async with conn.transaction():
            await create_booking(conn, slot_id, p_customer='{"ref": "newcomer"}', p_units=units, p_now=NOW)
    except asyncpg.PostgresError as error:
        return REASONS[error.sqlstate or ""]
    return None


@on_one_connection
@given(state=states)
async def test_what_is_listed_as_free_is_taken_and_what_is_not_is_refused_for_the_reason_given(
    make: Factory, conn: asyncpg.Connection, state: State
) -> None:
    transaction = conn.transaction()
    await transaction.start()
    try:
        slot_id = await build(make, conn, state)
        before = await offer_of(conn, slot_id, p_units=state.units)

        reason = await outcome(conn, slot_id, state.units)

        assert (before["available"], before["reason"]) == (reason is None, reason)
        after = await offer_of(conn, slot_id)
        taken = (1, state.units) if reason is None else (0, 0)
        assert before["remaining_bookings"] - after["remaining_bookings"] == taken[0]
        if state.max_units is not None:
            assert before["remaining_units"] - after["remaining_units"] == taken[1]
    finally:
        await transaction.rollback()


@on_one_connection
@given(state=states, waiting=st.lists(st.integers(1, 4), min_size=1, max_size=2))
async def test_with_people_in_line_what_is_listed_as_free_is_still_taken(
    make: Factory, conn: asyncpg.Connection, state: State, waiting: list[int]
) -> None:
    transaction = conn.transaction()
    await transaction.start()
    try:
        slot_id = await build(make, conn, state)
        for n, units in enumerate(waiting):
            await stand_in_line(conn, slot_id, units, f"waiting-{n}")
        offer = await offer_of(conn, slot_id, p_units=state.units)

        reason = await outcome(conn, slot_id, state.units)

        # never free and refused; full and taken may be, where more places lapse than the line has use for
        assert reason == offer["reason"] or (offer["reason"], reason) == ("full", None)
    finally:
        await transaction.rollback()


async def given_ids(conn: asyncpg.Connection, *slot_ids: UUID, **overrides: Any) -> Any:
    return await call_json(conn, "given_slots", p_slot_ids=list(slot_ids), **({"p_now": NOW} | overrides))


async def test_given_slots_come_by_start_each_once_and_ids_of_no_slot_are_left_out(
    make: Factory, conn: asyncpg.Connection
) -> None:
    late, early, legacy = [await make.slot(starts_at=START + n * HOUR) for n in (2, 1, 0)]
    await conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", legacy)

    slots = (await given_ids(conn, late, NOBODY, early, late, legacy))["slots"]

    assert [slot["id"] for slot in slots] == [str(legacy), str(early), str(late)]
    assert [slot["reason"] for slot in slots] == ["closed", None, None]


async def test_given_slots_answer_as_a_range_of_them_does(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource(timezone="Europe/Athens")
    slot_id = await make.slot(resource_id, starts_at=START, max_bookings=3, max_units=4)
    await make.booking(slot_id, p_units=2, p_now=NOW)

    listed = await call_row(
        conn,
        "available_slots",
        p_resource_ids=[resource_id],
        p_from=NOW,
        p_to=START + DAY,
        p_units=3,
        p_now=NOW,
    )

    assert (await given_ids(conn, slot_id, p_units=3))["slots"] == json.loads(listed["body"])["slots"]


async def test_given_slots_of_nothing_are_none_in_utc(conn: asyncpg.Connection) -> None:
    assert await given_ids(conn, NOBODY) == {"timezone": "UTC", "slots": []}
    assert await given_ids(conn) == {"timezone": "UTC", "slots": []}


async def test_given_slots_have_the_zone_they_share_else_utc_unless_told(
    make: Factory, conn: asyncpg.Connection
) -> None:
    in_athens, also_there, in_tokyo = [
        await make.slot(await make.resource(timezone=zone), starts_at=START)
        for zone in ("Europe/Athens", "Europe/Athens", "Asia/Tokyo")
    ]

    shared = await given_ids(conn, in_athens, also_there)
    mixed = await given_ids(conn, in_athens, in_tokyo)
    told = await given_ids(conn, in_athens, in_tokyo, p_tz="America/New_York")

    assert [answer["timezone"] for answer in (shared, mixed, told)] == ["Europe/Athens", "UTC", "America/New_York"]
    assert [answer["slots"][0]["starts_at"] for answer in (shared, mixed, told)] == [
        "2030-06-03T15:00:00+03:00",
        "2030-06-03T12:00:00+00:00",
        "2030-06-03T08:00:00-04:00",
    ]


async def test_the_zone_holds_until_the_transaction_ends(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource(timezone="Asia/Kathmandu")
    await conn.execute("SET TimeZone TO 'Asia/Tokyo'")

    async with conn.transaction():
        assert await call_value(conn, "set_answer_timezone", p_resource_ids=[resource_id]) == "Asia/Kathmandu"
        assert await conn.fetchval("SELECT to_json($1::timestamptz)", START) == '"2030-06-03T17:45:00+05:45"'

    assert await conn.fetchval("SHOW TimeZone") == "Asia/Tokyo"


async def test_one_unknown_resource_among_others_is_named(make: Factory, conn: asyncpg.Connection) -> None:
    with refused("SB009", "resource_not_found") as refusal:
        await call(conn, "set_answer_timezone", p_resource_ids=[await make.resource(), NOBODY, await make.resource()])

    assert refusal.detail == {"resource_id": str(NOBODY)}


async def test_an_unknown_zone_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    with refused("22023"):
        await call(conn, "set_answer_timezone", p_resource_ids=[await make.resource()], p_tz="Mars/Olympus")
    with refused("22023"):
        await given_ids(conn, NOBODY, p_tz="Mars/Olympus")
