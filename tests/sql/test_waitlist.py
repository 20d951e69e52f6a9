"""join_waitlist, leave_waitlist, accept_offer, close_waitlists, and reading a line: who stands in it, how long."""

import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import Connect
from tests.factories import ACTOR, HOUR, SYSTEM, Factory, change_booking
from tests.sql.schedules import put_schedule
from tests.sql.support import (
    NOBODY,
    TICK,
    at,
    call_json,
    call_row,
    call_value,
    cancel,
    occupancy,
    one,
    raw_booking,
    refused,
    status_of,
    without_indexes,
)

NOW = at("2030-06-03T09:00")
START = NOW + timedelta(days=1)
LATER = NOW + timedelta(minutes=5)
OFFER = timedelta(minutes=60)
MEMBERS = {
    *("id", "slot_id", "customer_ref", "units", "payment_method", "status", "ahead"),
    *("booking_id", "expires_at", "created_at", "updated_at"),
}


def own_actor(ref: str) -> str:
    """Who calls with a token of that customer."""
    return json.dumps({"type": "customer", "id": f"customer:{ref}", "customer_ref": ref})


async def join(conn: asyncpg.Connection, slot_id: UUID, ref: str, **overrides: Any) -> dict[str, Any]:
    """That customer's place in line, as join_waitlist answers it."""
    arguments = {"p_actor": ACTOR, "p_slot_id": slot_id, "p_customer": json.dumps({"ref": ref}), "p_now": NOW}
    row = await call_row(conn, "join_waitlist", **(arguments | overrides))
    entry: dict[str, Any] = json.loads(row["body"])
    assert entry["id"] == str(row["entry_id"])
    return entry


async def leave(conn: asyncpg.Connection, entry_id: Any, **overrides: Any) -> Any:
    arguments = {"p_actor": ACTOR, "p_entry_id": entry_id, "p_now": LATER} | overrides
    return await call_json(conn, "leave_waitlist", **arguments)


async def accept(conn: asyncpg.Connection, entry_id: Any, **overrides: Any) -> asyncpg.Record:
    arguments = {"p_actor": ACTOR, "p_entry_id": entry_id, "p_now": LATER} | overrides
    return await call_row(conn, "accept_offer", **arguments)


async def close(conn: asyncpg.Connection, p_now: datetime = START, p_limit: int = 100) -> Any:
    return await call_value(conn, "close_waitlists", p_actor=SYSTEM, p_limit=p_limit, p_now=p_now)


async def expire(conn: asyncpg.Connection, p_now: datetime) -> Any:
    """How many holds the sweep of that time ended."""
    return await call_value(conn, "expire_due_bookings", p_actor=SYSTEM, p_limit=100, p_now=p_now)


async def entry_of(conn: asyncpg.Connection, entry_id: Any) -> Any:
    return await call_json(conn, "get_waitlist_entry", p_entry_id=entry_id)


async def line(conn: asyncpg.Connection, slot_id: UUID) -> list[tuple[str, str]]:
    """Everybody who ever stood in the slot's line, in its order, and what became of them."""
    rows = await conn.fetch(
        """SELECT c.ref, w.status FROM waitlist_entries w JOIN customers c ON c.id = w.customer_id
        WHERE w.slot_id = $1 ORDER BY w.place_in_line""",
        slot_id,
    )
    return [(row["ref"], row["status"]) for row in rows]


async def taken(make: Factory, resource_id: UUID | None = None, **booking: Any) -> tuple[UUID, UUID]:
    """A slot of one place, and the booking that has it."""
    slot_id = await make.slot(resource_id, starts_at=START)
    given = {"p_customer": '{"ref": "owner"}', "p_now": NOW} | booking
    return slot_id, await make.booking(slot_id, **given)


async def offered(make: Factory, conn: asyncpg.Connection, **overrides: Any) -> dict[str, Any]:
    """An offer to ann of a slot's only place."""
    entry = await join(conn, await make.slot(starts_at=START), "ann", **overrides)
    assert entry["status"] == "offered"
    return entry


async def assert_sound(conn: asyncpg.Connection) -> None:
    """No promise of the house is broken, and nobody waits before a place that would hold them."""
    report = await call_json(conn, "check_invariants")
    assert report["violations"] == []
    forgotten = await conn.fetch(
        """SELECT w.id FROM waitlist_entries w JOIN slots s ON s.id = w.slot_id
        WHERE w.status = 'waiting' AND NOT s.is_legacy AND s.booked_bookings < s.max_bookings
          AND w.units <= COALESCE(s.max_units - s.booked_units, w.units)"""
    )
    assert forgotten == []


async def test_who_joins_the_line_of_a_full_slot_waits(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)

    entry = await join(conn, slot_id, "ann", p_units=3, p_payment_method="pay_now")

    assert entry.keys() == MEMBERS
    assert (entry["slot_id"], entry["customer_ref"], entry["units"]) == (str(slot_id), "ann", 3)
    assert (entry["payment_method"], entry["status"], entry["ahead"]) == ("pay_now", "waiting", 0)
    assert (entry["booking_id"], entry["expires_at"]) == (None, None)
    assert at(entry["created_at"]) == at(entry["updated_at"]) == NOW
    assert await entry_of(conn, entry["id"]) == entry


async def test_a_place_in_line_counts_who_waits_before_it_in_that_line(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)
    other, _ = await taken(make)
    await join(conn, other, "zoe")
    entries = [await join(conn, slot_id, ref) for ref in ("ann", "ben", "cleo")]
    assert [entry["ahead"] for entry in entries] == [0, 1, 2]

    await leave(conn, entries[0]["id"])

    assert [(await entry_of(conn, entry["id"]))["ahead"] for entry in entries] == [None, 0, 1]


async def test_joining_twice_is_one_place_in_line(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)
    first = await join(conn, slot_id, "ann")
    await join(conn, slot_id, "ben")

    assert await join(conn, slot_id, "ann", p_units=2, p_now=NOW + HOUR) == first
    assert await line(conn, slot_id) == [("ann", "waiting"), ("ben", "waiting")]


async def test_joining_with_an_offer_in_hand_is_that_offer(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=2)
    offer = await join(conn, slot_id, "ann")

    assert await join(conn, slot_id, "ann") == offer
    assert await occupancy(conn, slot_id) == (1, 1)


async def test_who_joins_again_after_leaving_stands_at_the_end(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)
    left = await join(conn, slot_id, "ann")
    await join(conn, slot_id, "ben")
    await leave(conn, left["id"])

    again = await join(conn, slot_id, "ann")

    assert (again["id"] != left["id"], again["ahead"]) == (True, 1)
    assert await line(conn, slot_id) == [("ann", "cancelled"), ("ben", "waiting"), ("ann", "waiting")]


async def test_who_joins_again_when_the_own_offer_is_over_stands_in_the_line(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id, booking_id = await taken(make)
    await join(conn, slot_id, "ann")
    await join(conn, slot_id, "ben")
    await cancel(conn, booking_id, p_now=LATER)

    again = await join(conn, slot_id, "ann", p_now=LATER + OFFER)

    assert (again["status"], again["ahead"]) == ("waiting", 0)
    assert await line(conn, slot_id) == [("ann", "expired"), ("ben", "offered"), ("ann", "waiting")]


async def test_customers_without_a_ref_stand_in_line_each_for_themselves(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id, _ = await taken(make)

    entries = [await join(conn, slot_id, "", p_customer='{"name": "Ann"}') for _ in range(2)]

    assert [entry["ahead"] for entry in entries] == [0, 1]
    assert [entry["customer_ref"] for entry in entries] == [None, None]


async def test_where_there_is_room_joining_is_an_offer(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=START, max_units=4)

    entry = await join(conn, slot_id, "ann", p_units=4, p_payment_method="pay_now")

    assert (entry["status"], entry["ahead"]) == ("offered", None)
    assert at(entry["expires_at"]) == NOW + OFFER
    booking = "SELECT status, units, payment_method, payment_status, slot_id FROM bookings WHERE id = $1"
    assert await one(conn, booking, entry["booking_id"]) == ("pending", 4, "pay_now", "pending", slot_id)
    assert await occupancy(conn, slot_id) == (1, 4)


async def test_a_hold_that_is_over_goes_to_the_first_in_line_when_somebody_joins(
    make: Factory, conn: asyncpg.Connection
) -> None:
    first, _ = await taken(make, p_payment_method="pay_now")
    second, _ = await taken(make, p_payment_method="pay_now")
    await join(conn, second, "ann")
    late = NOW + timedelta(minutes=15)

    assert (await join(conn, first, "ben", p_now=late))["status"] == "offered"
    assert (await join(conn, second, "ben", p_now=late))["status"] == "waiting"
    assert await line(conn, second) == [("ann", "offered"), ("ben", "waiting")]


async def test_a_token_joins_for_its_own_customer_whatever_the_request_says(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id, _ = await taken(make)

    entry = await join(conn, slot_id, "ben", p_actor=own_actor("ann"))

    assert entry["customer_ref"] == "ann"


@pytest.mark.parametrize(
    ("sqlstate", "slug", "change"),
    [
        ("SB003", "slot_closed", "UPDATE slots SET is_legacy = true"),
        ("SB004", "slot_in_past", f"UPDATE slots SET starts_at = '{NOW}'"),
        ("SB011", "not_open_yet", "UPDATE schedules SET booking_window_days = 0"),
        ("SB015", "too_late", "UPDATE schedules SET min_notice_minutes = 60 * 24 + 1"),
    ],
)
async def test_a_slot_that_takes_no_newcomers_has_no_line(
    make: Factory, conn: asyncpg.Connection, sqlstate: str, slug: str, change: str
) -> None:
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, starts_at=START)
    await put_schedule(conn, resource_id, p_now=NOW)
    await conn.execute(change)

    with refused(sqlstate, slug):
        await join(conn, slot_id, "ann")

    assert await one(conn, "SELECT count(*) FROM customers") == (0,)


async def test_an_admin_who_gives_a_reason_may_put_somebody_in_line_out_of_time(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, starts_at=START)
    await put_schedule(conn, resource_id, p_now=NOW, booking_window_days=0)

    entry = await join(conn, slot_id, "ann", p_actor='{"type": "admin", "id": "x", "reason": "a regular"}')

    assert entry["status"] == "offered"


async def test_an_unknown_slot_has_no_line(conn: asyncpg.Connection) -> None:
    with refused("SB001", "slot_not_found"):
        await join(conn, NOBODY, "ann")


async def test_the_line_is_no_way_around_the_limit_of_bookings_a_customer(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, p_now=NOW, max_bookings_per_customer=1)
    slot_id, free = [await make.slot(resource_id, starts_at=START + hours * HOUR) for hours in (6, 8)]
    await make.booking(slot_id, p_now=NOW)
    with refused("SB018", "limit_reached"):
        await make.booking(free, p_now=NOW)

    # whether the line refuses or passes over who has enough is its own affair
    with suppress(asyncpg.PostgresError):
        await join(conn, free, "ann")

    assert await occupancy(conn, free) == (0, 0)


async def test_who_waits_may_leave_once_or_twice(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)
    entry = await join(conn, slot_id, "ann")

    left = await leave(conn, entry["id"], p_now=NOW + HOUR)

    assert (left["status"], left["ahead"], at(left["updated_at"])) == ("cancelled", None, NOW + HOUR)
    assert await leave(conn, entry["id"], p_now=NOW + 2 * HOUR) == left


async def test_leaving_with_an_offer_gives_it_to_the_next(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn)
    slot_id = UUID(offer["slot_id"])
    await join(conn, slot_id, "ben")

    left = await leave(conn, offer["id"])

    assert (left["status"], left["booking_id"]) == ("cancelled", offer["booking_id"])
    assert await status_of(conn, offer["booking_id"]) == "cancelled"
    assert await line(conn, slot_id) == [("ann", "cancelled"), ("ben", "offered")]
    assert await leave(conn, offer["id"]) == left
    await assert_sound(conn)


@pytest.mark.parametrize("status", ["accepted", "expired", "closed"])
async def test_nobody_leaves_a_line_in_which_they_stand_no_more(
    make: Factory, conn: asyncpg.Connection, status: str
) -> None:
    slot_id, booking_id = await taken(make)
    entry = await join(conn, slot_id, "ann")
    if status == "closed":
        assert await close(conn) == 1
    else:
        await cancel(conn, booking_id, p_now=LATER)
        await (accept(conn, entry["id"]) if status == "accepted" else expire(conn, LATER + OFFER))

    with refused("SB007", "invalid_transition") as refusal:
        await leave(conn, entry["id"])

    assert refusal.detail == {"waitlist_entry_id": entry["id"], "from": status, "to": "cancelled"}
    assert await line(conn, slot_id) == [("ann", status)]


async def test_accepting_an_offer_confirms_its_booking(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn)

    row = await accept(conn, offer["id"], p_now=NOW + OFFER - TICK)

    booking = json.loads(row["body"])
    assert (str(row["booking_id"]), row["booking_version"]) == (offer["booking_id"], 2)
    assert (booking["id"], booking["status"], booking["version"]) == (offer["booking_id"], "confirmed", 2)
    assert (booking["customer_ref"], booking["expires_at"]) == ("ann", None)
    entry = await entry_of(conn, offer["id"])
    assert (entry["status"], entry["booking_id"], entry["expires_at"]) == ("accepted", offer["booking_id"], None)
    await assert_sound(conn)


async def test_accepting_twice_is_accepting_once(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn)
    first = await accept(conn, offer["id"])

    assert await accept(conn, offer["id"], p_now=NOW + 2 * OFFER) == first


async def test_an_offer_is_good_until_its_very_end_and_no_longer(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn)

    with refused("SB013", "hold_expired") as refusal:
        await accept(conn, offer["id"], p_now=NOW + OFFER)

    assert (refusal.detail["booking_id"], at(refusal.detail["expired_at"])) == (offer["booking_id"], NOW + OFFER)
    assert await status_of(conn, offer["booking_id"]) == "pending"


@pytest.mark.parametrize("status", ["waiting", "expired", "cancelled"])
async def test_only_an_offer_can_be_accepted(make: Factory, conn: asyncpg.Connection, status: str) -> None:
    slot_id, booking_id = await taken(make)
    entry = await join(conn, slot_id, "ann")
    if status == "expired":
        await cancel(conn, booking_id, p_now=LATER)
        await expire(conn, LATER + OFFER)
    elif status == "cancelled":
        await leave(conn, entry["id"])

    with refused("SB007", "invalid_transition") as refusal:
        await accept(conn, entry["id"])

    assert (refusal.detail["from"], refusal.detail["to"]) == (status, "accepted")


async def test_an_offer_to_be_paid_now_is_accepted_by_paying(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn, p_payment_method="pay_now")
    with refused("SB007", "invalid_transition") as refusal:
        await accept(conn, offer["id"])
    assert refusal.detail["payment_method"] == "pay_now"

    await change_booking(conn, "record_payment", offer["booking_id"], 1, p_payment_status="paid", p_now=LATER)

    assert (await entry_of(conn, offer["id"]))["status"] == "accepted"
    assert await status_of(conn, offer["booking_id"]) == "confirmed"


async def test_an_offer_to_be_paid_on_arrival_has_no_payment_that_fails(
    make: Factory, conn: asyncpg.Connection
) -> None:
    offer = await offered(make, conn)

    with refused("SB007", "invalid_transition"):
        await change_booking(conn, "record_payment", offer["booking_id"], 1, p_payment_status="failed", p_now=LATER)

    assert await status_of(conn, offer["booking_id"]) == "pending"


async def test_what_a_provider_says_of_an_offer_to_be_paid_on_arrival_is_never_refused(
    make: Factory, conn: asyncpg.Connection
) -> None:
    offer = await offered(make, conn)
    event = {"p_event_id": "e", "p_event_type": "payment_failed", "p_payment_status": "failed", "p_now": LATER}

    told = await call_json(conn, "record_payment_event", p_actor=SYSTEM, p_booking_id=offer["booking_id"], **event)

    assert told["outcome"] == "invalid_transition"


@pytest.mark.parametrize("function", ["accept_offer", "leave_waitlist", "lock_waitlist_entry"])
async def test_an_unknown_place_in_line_is_not_found(conn: asyncpg.Connection, function: str) -> None:
    with refused("SB019", "waitlist_entry_not_found"):
        await call_row(conn, function, p_actor=ACTOR, p_entry_id=NOBODY)


async def test_another_customers_place_in_line_is_not_found(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn)
    bens = own_actor("ben")

    with refused("SB019", "waitlist_entry_not_found"):
        await call_json(conn, "get_waitlist_entry", p_entry_id=offer["id"], p_customer_ref="ben")
    for attempt in (accept, leave):
        with refused("SB019", "waitlist_entry_not_found"):
            await attempt(conn, offer["id"], p_actor=bens)
    with refused("SB019", "waitlist_entry_not_found"):
        await call_row(conn, "lock_waitlist_entry", p_actor=bens, p_entry_id=offer["id"])

    assert await call_json(conn, "get_waitlist_entry", p_entry_id=offer["id"], p_customer_ref="ann") == offer


async def test_customers_accept_and_leave_with_their_own_token(make: Factory, conn: asyncpg.Connection) -> None:
    accepted, left = await offered(make, conn), await offered(make, conn)

    await accept(conn, accepted["id"], p_actor=own_actor("ann"))
    await leave(conn, left["id"], p_actor=own_actor("ann"))

    assert await status_of(conn, accepted["booking_id"]) == "confirmed"
    assert await status_of(conn, left["booking_id"]) == "cancelled"


async def test_a_place_in_line_is_locked_together_with_its_slot(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    offer, free = await offered(make, conn), await offered(make, conn)
    rival = await connect()

    async with conn.transaction():
        await call_row(conn, "lock_waitlist_entry", p_actor=ACTOR, p_entry_id=offer["id"])
        slots = await rival.fetch("SELECT id FROM slots FOR NO KEY UPDATE SKIP LOCKED")
        entries = await rival.fetch("SELECT id FROM waitlist_entries FOR NO KEY UPDATE SKIP LOCKED")

    assert [str(row["id"]) for row in slots] == [free["slot_id"]]
    assert [str(row["id"]) for row in entries] == [free["id"]]


async def test_a_slot_that_has_begun_closes_its_line(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)
    entry = await join(conn, slot_id, "ann")

    assert await close(conn, START - TICK) == 0
    assert await close(conn, START) == 1

    closed = await entry_of(conn, entry["id"])
    assert (closed["status"], closed["ahead"], at(closed["updated_at"])) == ("closed", None, START)
    assert await close(conn, START) == 0


async def test_a_slot_that_takes_nobody_any_more_closes_its_line(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)
    other, _ = await taken(make)
    await join(conn, slot_id, "ann")
    await join(conn, other, "ann")
    await conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", slot_id)

    assert await close(conn, NOW) == 1

    assert (await line(conn, slot_id), await line(conn, other)) == ([("ann", "closed")], [("ann", "waiting")])


async def test_closing_tells_only_those_who_wait(make: Factory, conn: asyncpg.Connection) -> None:
    offer, accepted, left = await offered(make, conn), await offered(make, conn), await offered(make, conn)
    await accept(conn, accepted["id"])
    await leave(conn, left["id"])

    assert await close(conn, START + HOUR) == 0

    found = [(await entry_of(conn, entry["id"]))["status"] for entry in (offer, accepted, left)]
    assert found == ["offered", "accepted", "cancelled"]


async def test_closing_takes_no_more_than_it_was_asked_to_and_passes_over_what_is_busy(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, _ = await taken(make)
    entries = [await join(conn, slot_id, ref) for ref in ("ann", "ben", "cleo")]
    holder = await connect()

    async with holder.transaction():
        await holder.execute("SELECT FROM waitlist_entries WHERE id = $1 FOR UPDATE", entries[0]["id"])
        await conn.execute("SET lock_timeout TO '2s'")
        assert [await close(conn, p_limit=1) for _ in range(3)] == [1, 1, 0]

    assert await line(conn, slot_id) == [("ann", "waiting"), ("ben", "closed"), ("cleo", "closed")]
    assert await close(conn) == 1


async def listed(conn: asyncpg.Connection, **filters: Any) -> list[tuple[str, str]]:
    """Customer and status of each place in line that passes the filters."""
    page = await call_json(conn, "list_waitlist", **filters)
    return [(item["customer_ref"], item["status"]) for item in page["items"]]


async def test_a_list_holds_what_passes_every_filter(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)
    other = await make.slot(starts_at=START)
    for n, (slot, ref) in enumerate([(slot_id, "ann"), (other, "ann"), (slot_id, "ben")]):
        await join(conn, slot, ref, p_now=NOW + n * HOUR)

    assert await listed(conn) == [("ann", "waiting"), ("ann", "offered"), ("ben", "waiting")]
    assert await listed(conn, p_slot_id=slot_id) == [("ann", "waiting"), ("ben", "waiting")]
    assert await listed(conn, p_customer_ref="ann") == [("ann", "waiting"), ("ann", "offered")]
    assert await listed(conn, p_status="waiting", p_customer_ref="ann") == [("ann", "waiting")]
    assert await listed(conn, p_customer_ref="nobody") == []
    assert await call_json(conn, "list_waitlist", p_slot_id=NOBODY) == {"items": [], "next_cursor": None}


async def test_an_item_of_a_list_is_the_place_in_line_itself(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn)
    row = "SELECT waitlist_entry_json(w) FROM waitlist_entries w"

    page = await call_json(conn, "list_waitlist")

    assert page["items"] == [offer] == [json.loads(await conn.fetchval(row))]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
async def test_pages_hold_everybody_once_in_order_of_joining(
    make: Factory, conn: asyncpg.Connection, limit: int
) -> None:
    slot_id, _ = await taken(make)
    joined = [str((await join(conn, slot_id, f"c{n}", p_now=NOW + n // 2 * HOUR))["id"]) for n in range(5)]
    await without_indexes(conn)

    found, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = await call_json(conn, "list_waitlist", p_limit=limit, p_cursor=cursor)
        found += [item["id"] for item in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1

    # two who joined in the same instant have no order between them
    assert (sorted(found), len(found), pages) == (sorted(joined), 5, -(-5 // limit))
    assert [at((await entry_of(conn, entry))["created_at"]) for entry in found] == [
        NOW + n // 2 * HOUR for n in range(5)
    ]


async def limited_line(make: Factory, conn: asyncpg.Connection) -> tuple[UUID, UUID, UUID]:
    """A full slot in whose line ann and ben stand, its booking, and the one that ann may have."""
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, p_now=NOW, max_bookings_per_customer=1)
    slot_id, other = [await make.slot(resource_id, starts_at=START + hours * HOUR) for hours in (6, 8)]
    owner = await make.booking(slot_id, p_customer=json.dumps({"ref": "owner"}), p_now=NOW)
    for ref in ("ann", "ben"):
        await join(conn, slot_id, ref)
    return slot_id, owner, await make.booking(other, p_customer='{"ref": "ann"}', p_now=NOW)


async def test_who_has_as_many_as_the_rules_allow_loses_the_turn_and_not_the_place(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id, owner, own = await limited_line(make, conn)

    await cancel(conn, owner, p_now=LATER)
    assert await line(conn, slot_id) == [("ann", "waiting"), ("ben", "offered")]

    await cancel(conn, own, p_now=LATER)
    await leave(conn, await conn.fetchval("SELECT id FROM waitlist_entries WHERE status = 'offered'"))
    assert await line(conn, slot_id) == [("ann", "offered"), ("ben", "cancelled")]


async def test_an_offer_beside_as_many_as_the_rules_allow_cannot_be_accepted(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id, owner, own = await limited_line(make, conn)
    await cancel(conn, own, p_now=LATER)
    await cancel(conn, owner, p_now=LATER)
    entry_id = await conn.fetchval("SELECT id FROM waitlist_entries WHERE status = 'offered'")
    # two offers at once cannot see each other
    resource_id = await conn.fetchval("SELECT resource_id FROM slots WHERE id = $1", slot_id)
    await raw_booking(
        conn,
        await make.slot(resource_id, starts_at=START + 10 * HOUR),
        customer_id=await conn.fetchval("SELECT id FROM customers WHERE ref = 'ann'"),
    )

    with refused("SB018", "limit_reached"):
        await accept(conn, entry_id)

    assert await line(conn, slot_id) == [("ann", "offered"), ("ben", "waiting")]
