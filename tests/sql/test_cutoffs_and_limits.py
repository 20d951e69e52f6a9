"""require_before_cutoff, require_customer_limit, book_slot: rules that a schedule sets, and who passes over them."""

import json
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.concurrency.rivals import begin, connections, outcomes, until_waiting
from tests.conftest import Connect
from tests.factories import ACTOR, HOUR, Factory, change_booking, create_booking, make_customer
from tests.sql.support import TICK, at, cancel, occupancy, one, raw_booking, refused, status_of
from tests.sql.test_slot_rules import NOT_OVERRIDING, OVERRIDING, bound, make_rules

DAY = timedelta(days=1)
NOW = at("2030-06-02T12:00")
START = at("2030-06-05T12:00")
UNTIL = START - 24 * HOUR
CUTOFF = "SELECT require_before_cutoff($1, b, $2) FROM bookings b"
LIMIT = "SELECT require_customer_limit($1, $2, $3, $4)"

FRONTEND = NOT_OVERRIDING["a frontend with a reason"]
CLERK = json.dumps({"type": "admin", "id": "clerk"})


async def resource_under(make: Factory, conn: asyncpg.Connection, **rules: Any) -> UUID:
    resource_id = await make.resource()
    await make_rules(conn, resource_id, **rules)
    return resource_id


async def booked_under(make: Factory, conn: asyncpg.Connection, **rules: Any) -> UUID:
    slot_id = await make.slot(await resource_under(make, conn, **rules), starts_at=START)
    return await make.booking(slot_id, p_now=NOW)


async def last_audit(conn: asyncpg.Connection, booking_id: UUID) -> tuple[Any, ...]:
    query = """SELECT action_type, performed_by, performed_by_id, reason FROM audit_log
        WHERE subject_type = 'booking' AND subject_id = $1 ORDER BY id DESC LIMIT 1"""
    return await one(conn, query, str(booking_id))


@bound
async def test_after_the_cut_off_it_is_too_late(make: Factory, conn: asyncpg.Connection, actor: str) -> None:
    booking_id = await booked_under(make, conn, cancel_cutoff_minutes=24 * 60)

    await conn.execute(CUTOFF, actor, UNTIL)
    with refused("SB015", "too_late") as refusal:
        await conn.execute(CUTOFF, actor, UNTIL + TICK)

    facts = {name: refusal.detail.pop(name) for name in ("rule", "booking_id")}
    assert facts == {"rule": "cancel_cutoff_minutes", "booking_id": str(booking_id)}
    assert {name: at(value) for name, value in refusal.detail.items()} == {"starts_at": START, "until": UNTIL}


async def test_an_admin_with_a_reason_passes_over_the_cut_off(make: Factory, conn: asyncpg.Connection) -> None:
    await booked_under(make, conn, cancel_cutoff_minutes=24 * 60)

    await conn.execute(CUTOFF, OVERRIDING, START + DAY)


@pytest.mark.parametrize("has_rules", [True, False])
async def test_without_a_cut_off_the_start_is_one(make: Factory, conn: asyncpg.Connection, has_rules: bool) -> None:
    resource_id = await (resource_under(make, conn) if has_rules else make.resource())
    await make.booking(await make.slot(resource_id, starts_at=START), p_now=NOW)

    await conn.execute(CUTOFF, CLERK, START)
    with refused("SB015", "too_late"):
        await conn.execute(CUTOFF, CLERK, START + TICK)


async def test_a_hold_may_always_be_given_back(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(await resource_under(make, conn, cancel_cutoff_minutes=525_600), starts_at=START)
    booking_id = await make.booking(slot_id, p_payment_method="pay_now", p_now=NOW)

    await cancel(conn, booking_id, p_actor=FRONTEND, p_now=START - TICK)

    assert await status_of(conn, booking_id) == "cancelled"
    assert await occupancy(conn, slot_id) == (0, 0)


@pytest.mark.parametrize("actor", [FRONTEND, CLERK], ids=["frontend", "admin without a reason"])
async def test_a_cancellation_after_the_cut_off_changes_nothing(
    make: Factory, conn: asyncpg.Connection, actor: str
) -> None:
    booking_id = await booked_under(make, conn, cancel_cutoff_minutes=24 * 60)
    reason = {"p_reason": "please"} if actor == FRONTEND else {}

    with refused("SB015", "too_late"):
        await cancel(conn, booking_id, p_actor=actor, p_now=UNTIL + TICK, **reason)

    assert await status_of(conn, booking_id) == "confirmed"


async def test_an_admin_cancels_after_the_cut_off_and_the_reason_is_on_record(
    make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = await booked_under(make, conn, cancel_cutoff_minutes=24 * 60)

    await cancel(conn, booking_id, p_actor=CLERK, p_reason="flooded", p_now=UNTIL + TICK)

    assert await last_audit(conn, booking_id) == ("cancelled", "admin", "clerk", "flooded")


async def test_up_to_the_cut_off_anybody_cancels(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await booked_under(make, conn, cancel_cutoff_minutes=24 * 60)

    await cancel(conn, booking_id, p_actor=FRONTEND, p_now=UNTIL)

    assert await status_of(conn, booking_id) == "cancelled"


# what stands in the way of each move: rules of the old slot's resource, of the new one's, and when it is asked for
MOVES: dict[str, tuple[dict[str, Any], dict[str, Any], datetime, str, str]] = {
    "cut-off": ({"cancel_cutoff_minutes": 24 * 60}, {}, UNTIL + TICK, "SB015", "too_late"),
    "notice": ({}, {"min_notice_minutes": 24 * 60}, UNTIL + TICK, "SB015", "too_late"),
    "window": ({}, {"booking_window_days": 1}, NOW, "SB011", "not_open_yet"),
    "limit": ({}, {"max_bookings_per_customer": 1}, NOW, "SB018", "limit_reached"),
}


@pytest.mark.parametrize(("old", "new", "now", "sqlstate", "slug"), MOVES.values(), ids=MOVES)
async def test_a_move_is_bound_by_the_cut_off_it_leaves_and_the_rules_where_it_goes(
    make: Factory, conn: asyncpg.Connection, old: Any, new: Any, now: datetime, sqlstate: str, slug: str
) -> None:
    booking_id = await booked_under(make, conn, **old)
    there = await resource_under(make, conn, **new)
    await raw_booking(
        conn,
        await make.slot(there, starts_at=START + HOUR),
        customer_id=await conn.fetchval("SELECT customer_id FROM bookings"),
    )
    slot_id = await make.slot(there, starts_at=START)
    move = {"p_slot_id": slot_id, "p_now": now}

    with refused(sqlstate, slug):
        await change_booking(conn, "reschedule_booking", booking_id, 1, p_actor=CLERK, **move)
    with refused(sqlstate, slug):
        await change_booking(conn, "reschedule_booking", booking_id, 1, p_actor=FRONTEND, p_reason="please", **move)
    assert await occupancy(conn, slot_id) == (0, 0)

    await change_booking(conn, "reschedule_booking", booking_id, 1, p_actor=CLERK, p_reason="a mix-up", **move)
    assert await occupancy(conn, slot_id) == (1, 1)
    assert await last_audit(conn, booking_id) == ("rescheduled", "admin", "clerk", "a mix-up")


async def test_a_move_within_a_resource_is_not_counted_against_itself(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await resource_under(make, conn, max_bookings_per_customer=1)
    here, there = [await make.slot(resource_id, starts_at=START + n * HOUR) for n in range(2)]
    booking_id = await make.booking(here, p_now=NOW)

    await change_booking(conn, "reschedule_booking", booking_id, 1, p_actor=FRONTEND, p_slot_id=there, p_now=NOW)

    assert await occupancy(conn, there) == (1, 1)


async def test_a_hold_moves_after_the_cut_off(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await resource_under(make, conn, cancel_cutoff_minutes=525_600)
    here, there = [await make.slot(resource_id, starts_at=START + n * HOUR) for n in range(2)]
    booking_id = await make.booking(here, p_payment_method="pay_now", p_now=NOW)

    await change_booking(conn, "reschedule_booking", booking_id, 1, p_actor=FRONTEND, p_slot_id=there, p_now=NOW)

    assert await occupancy(conn, there) == (1, 1)


@pytest.mark.parametrize(
    ("columns", "now", "sqlstate", "slug"),
    [
        ("is_legacy = true", NOW, "SB003", "slot_closed"),
        ("is_legacy = false", START, "SB004", "slot_in_past"),
        ("max_bookings = 1", NOW, "SB002", "slot_full"),
        ("max_units = 1", NOW, "SB002", "slot_full"),
        ("max_units = 2", NOW, "SB008", "insufficient_units"),
    ],
)
@pytest.mark.parametrize("is_move", [False, True], ids=["booking", "move"])
async def test_no_reason_makes_room_where_there_is_none(
    make: Factory, conn: asyncpg.Connection, columns: str, now: datetime, sqlstate: str, slug: str, is_move: bool
) -> None:
    old = await make.booking(await make.slot(starts_at=START + DAY), p_units=2, p_now=NOW)
    slot_id = await make.slot(starts_at=START, max_bookings=3)
    await make.booking(slot_id, p_now=NOW)
    await conn.execute(f"UPDATE slots SET {columns} WHERE id = $1", slot_id)

    with refused(sqlstate, slug):
        if is_move:
            await change_booking(
                conn, "reschedule_booking", old, 1, p_actor=CLERK, p_reason="a guest", p_slot_id=slot_id, p_now=now
            )
        else:
            await create_booking(conn, slot_id, p_actor=OVERRIDING, p_units=2, p_now=now)


# a rule, and when it stands in the way of a booking for START
BINDING: dict[str, tuple[dict[str, Any], datetime, str, str]] = {
    "notice": ({"min_notice_minutes": 24 * 60}, UNTIL + TICK, "SB015", "too_late"),
    "window": ({"booking_window_days": 1, "opens_at_local": time(8)}, NOW, "SB011", "not_open_yet"),
    "limit": ({"max_bookings_per_customer": 1}, NOW, "SB018", "limit_reached"),
}


@bound
@pytest.mark.parametrize(("rules", "now", "sqlstate", "slug"), BINDING.values(), ids=BINDING)
async def test_a_rule_binds_everybody_who_may_not_override_it(
    make: Factory, conn: asyncpg.Connection, rules: Any, now: datetime, sqlstate: str, slug: str, actor: str
) -> None:
    resource_id = await resource_under(make, conn, **rules)
    first, slot_id = [await make.slot(resource_id, starts_at=START + n * HOUR) for n in (1, 0)]
    await create_booking(conn, first, p_actor=OVERRIDING, p_now=now)

    with refused(sqlstate, slug):
        await create_booking(conn, slot_id, p_actor=actor, p_now=now)

    assert await occupancy(conn, slot_id) == (0, 0)


@pytest.mark.parametrize(("rules", "now", "sqlstate", "slug"), BINDING.values(), ids=BINDING)
async def test_an_admin_with_a_reason_books_past_it_and_the_reason_is_on_record(
    make: Factory, conn: asyncpg.Connection, rules: Any, now: datetime, sqlstate: str, slug: str
) -> None:
    resource_id = await resource_under(make, conn, **rules)
    first, slot_id = [await make.slot(resource_id, starts_at=START + n * HOUR) for n in (1, 0)]
    await create_booking(conn, first, p_actor=OVERRIDING, p_now=now)
    with refused(sqlstate, slug):
        await create_booking(conn, slot_id, p_actor=CLERK, p_now=now)

    row = await create_booking(conn, slot_id, p_actor=OVERRIDING, p_now=now)

    assert await last_audit(conn, row["booking_id"]) == ("created", "admin", "clerk", "a regular guest")


async def test_the_limit_counts_what_is_live_of_that_customer_and_resource(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await resource_under(make, conn, max_bookings_per_customer=2)
    slot_id = await make.slot(resource_id, starts_at=START, max_bookings=9)
    ann, bob = await make_customer(conn, "ann"), await make_customer(conn, "bob")
    for status in ("cancelled", "expired", "failed", "completed", "no_show"):
        await raw_booking(conn, slot_id, customer_id=ann, status=status)
    await raw_booking(conn, slot_id, customer_id=ann, status="pending", expires_at=NOW)
    await raw_booking(conn, slot_id, customer_id=bob)
    await raw_booking(conn, await make.slot(starts_at=START), customer_id=ann)
    await raw_booking(conn, await make.slot(resource_id, starts_at=NOW - HOUR), customer_id=ann)
    await raw_booking(conn, slot_id, customer_id=ann)
    await conn.execute(LIMIT, CLERK, resource_id, ann, NOW)

    await raw_booking(conn, slot_id, customer_id=ann, status="pending", expires_at=NOW + TICK)

    with refused("SB018", "limit_reached") as refusal:
        await conn.execute(LIMIT, CLERK, resource_id, ann, NOW)
    assert refusal.detail == {
        "rule": "max_bookings_per_customer",
        "resource_id": str(resource_id),
        "limit": 2,
        "live_bookings": 2,
    }
    await conn.execute(LIMIT, OVERRIDING, resource_id, ann, NOW)
    await conn.execute(LIMIT, CLERK, resource_id, bob, NOW)


async def test_without_rules_a_customer_books_as_often_as_there_is_room(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(await resource_under(make, conn), starts_at=START, max_bookings=3)

    for _ in range(3):
        await make.booking(slot_id, p_now=NOW)

    assert await occupancy(conn, slot_id) == (3, 3)


async def test_book_slot_refuses_for_the_slot_before_it_looks_at_the_customer(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await resource_under(make, conn, max_bookings_per_customer=1)
    slot_id = await make.slot(resource_id, starts_at=START, max_bookings=1)
    await make.booking(slot_id, p_now=NOW)
    query = """SELECT (book_slot($1, s, '{"ref": "ann"}', 1, 'pay_on_arrival', '{}', $2)).status FROM slots s
        WHERE s.id = $3"""

    with refused("SB002", "slot_full"):
        await conn.execute(query, CLERK, NOW, slot_id)
    with refused("SB004", "slot_in_past"):
        await conn.execute(query, CLERK, START, slot_id)
    other_id = await make.slot(resource_id, starts_at=START + HOUR)
    with refused("SB018", "limit_reached"):
        await conn.execute(query, CLERK, NOW, other_id)
    assert await conn.fetchval(query, OVERRIDING, NOW, other_id) == "confirmed"


@pytest.mark.parametrize("returns", [True, False], ids=["a customer who is known", "a new customer"])
async def test_rivals_for_two_slots_cannot_pass_the_limit_together(
    make: Factory, conn: asyncpg.Connection, connect: Connect, returns: bool
) -> None:
    resource_id = await resource_under(make, conn, max_bookings_per_customer=1)
    slots = [await make.slot(resource_id, starts_at=START + n * HOUR) for n in range(2)]
    holder, *rivals = await connections(connect, 3)
    if returns:
        await make_customer(conn, "ann")

    async with holder.transaction():
        # whoever is known is waited for by key, whoever is new by name: each rival is past its own slot by then
        if returns:
            await holder.execute("SELECT FROM customers FOR UPDATE")
        else:
            await make_customer(holder, "ann")
        tasks = begin(
            create_booking(rival, slot_id, p_actor=FRONTEND, p_now=NOW)
            for rival, slot_id in zip(rivals, slots, strict=True)
        )
        await until_waiting(conn, 2)
    won, lost = await outcomes(tasks)

    assert len(won) == 1
    assert lost == ["SB018 limit_reached"]
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1


async def test_a_move_and_a_booking_cannot_pass_the_limit_together(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id = await resource_under(make, conn, max_bookings_per_customer=1)
    slots = [await make.slot(resource_id, starts_at=START + n * HOUR) for n in range(2)]
    booking_id = await make.booking(await make.slot(starts_at=START), p_now=NOW)
    holder, mover, booker = await connections(connect, 3)

    async with holder.transaction():
        await holder.execute("SELECT FROM customers FOR UPDATE")
        tasks = begin(
            [
                change_booking(mover, "reschedule_booking", booking_id, 1, p_slot_id=slots[0], p_now=NOW),
                create_booking(booker, slots[1], p_now=NOW),
            ]
        )
        await until_waiting(conn, 2)
    won, lost = await outcomes(tasks)

    assert (len(won), lost) == (1, ["SB018 limit_reached"])
    assert await conn.fetchval("SELECT count(*) FROM bookings WHERE resource_id = $1", resource_id) == 1


async def test_rivals_of_different_customers_do_not_wait_for_each_other(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id = await resource_under(make, conn, max_bookings_per_customer=1)
    slots = [await make.slot(resource_id, starts_at=START + n * HOUR) for n in range(2)]
    await make_customer(conn, "bob")
    holder = await connect()

    async with holder.transaction():
        await create_booking(holder, slots[0], p_now=NOW)
        await conn.execute("SET lock_timeout TO '2s'")
        await create_booking(conn, slots[1], p_customer='{"ref": "bob"}', p_now=NOW)

    assert await conn.fetchval("SELECT count(*) FROM bookings") == 2


async def test_a_hold_lasts_as_long_as_the_rules_of_its_resource_say(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(await resource_under(make, conn, hold_minutes=7), starts_at=START)

    await make.booking(slot_id, p_payment_method="pay_now", p_now=NOW)

    assert await one(conn, "SELECT status, expires_at FROM bookings") == ("pending", NOW + timedelta(minutes=7))


@pytest.mark.parametrize(
    ("function", "arguments"), [("record_payment", {"p_payment_status": "paid"}), ("confirm_booking", {})]
)
async def test_money_that_comes_late_and_inside_the_notice_takes_the_place_again(
    make: Factory, conn: asyncpg.Connection, function: str, arguments: dict[str, str]
) -> None:
    resource_id = await resource_under(make, conn, min_notice_minutes=60, max_bookings_per_customer=1)
    slot_id = await make.slot(resource_id, starts_at=START)
    booking_id = await make.booking(slot_id, p_payment_method="pay_now", p_now=START - HOUR)
    await conn.execute("UPDATE bookings SET status = 'expired'")
    assert await occupancy(conn, slot_id) == (0, 0)

    await change_booking(conn, function, booking_id, 2, p_actor=ACTOR, p_now=START - HOUR / 2, **arguments)

    assert await status_of(conn, booking_id) == "confirmed"
    assert await occupancy(conn, slot_id) == (1, 1)


async def test_money_that_comes_after_somebody_else_took_the_place_is_refused(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(await resource_under(make, conn, min_notice_minutes=60), starts_at=START)
    booking_id = await make.booking(slot_id, p_payment_method="pay_now", p_now=NOW)
    await make.booking(slot_id, p_customer='{"ref": "bob"}', p_now=NOW + HOUR)

    with refused("SB013", "hold_expired") as refusal:
        await change_booking(conn, "record_payment", booking_id, 2, p_payment_status="paid", p_now=START - HOUR / 2)

    assert refusal.detail["reason"] == "slot_full"


@pytest.mark.parametrize(
    ("status", "at_now", "counted"),
    [("confirmed", START, 1), ("confirmed", START + HOUR, 0), ("pending", NOW, 1), ("pending", NOW + HOUR, 0)]
    + [(status, NOW, 0) for status in ("cancelled", "expired", "failed", "completed", "no_show")],
)
async def test_live_bookings_are_confirmed_or_held_and_not_over(
    make: Factory, conn: asyncpg.Connection, status: str, at_now: datetime, counted: int
) -> None:
    slot_id = await make.slot(starts_at=START)
    customer_id = await make_customer(conn)
    await raw_booking(conn, slot_id, customer_id=customer_id, status=status, expires_at=NOW + HOUR)
    resource_id = await conn.fetchval("SELECT resource_id FROM slots WHERE id = $1", slot_id)

    live = "SELECT live_bookings($1, $2, $3)"
    assert await conn.fetchval(live, resource_id, customer_id, at_now) == counted
    assert await conn.fetchval(live, resource_id, await make_customer(conn, "else"), at_now) == 0
    assert await conn.fetchval(live, await make.resource(), customer_id, at_now) == 0
