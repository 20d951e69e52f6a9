"""offer_places, bookings_offer_places, slots_offer_places: a place that comes free goes down the line, one by one."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import Connect
from tests.factories import HOUR, SYSTEM, Factory, change_booking, create_booking, make_customer
from tests.sql.schedules import put_schedule
from tests.sql.support import (
    TICK,
    at,
    call,
    call_row,
    call_value,
    cancel,
    jobs_of,
    move,
    occupancy,
    one,
    refused,
    status_of,
    violates,
)
from tests.sql.test_waitlist import (
    LATER,
    NOW,
    OFFER,
    START,
    accept,
    assert_sound,
    close,
    entry_of,
    expire,
    join,
    leave,
    line,
    offered,
    taken,
)

AFTER_HOLD = NOW + timedelta(minutes=15)
OWNER = '{"ref": "owner"}'


async def free_by_cancel(make: Factory, _slot: UUID, booking_id: UUID) -> None:
    await cancel(make.conn, booking_id, p_now=LATER)


async def free_by_sweep(make: Factory, _slot: UUID, _booking: UUID) -> None:
    assert await expire(make.conn, AFTER_HOLD) == 1


async def free_by_failed_payment(make: Factory, _slot: UUID, booking_id: UUID) -> None:
    await change_booking(make.conn, "record_payment", booking_id, 1, p_payment_status="failed", p_now=LATER)


async def free_by_reschedule(make: Factory, _slot: UUID, booking_id: UUID) -> None:
    elsewhere = await make.slot(starts_at=START)
    await change_booking(make.conn, "reschedule_booking", booking_id, 1, p_slot_id=elsewhere, p_now=LATER)


async def free_by_raw_cancel(make: Factory, _slot: UUID, booking_id: UUID) -> None:
    await make.conn.execute("UPDATE bookings SET status = 'cancelled' WHERE id = $1", booking_id)


async def free_by_raw_move(make: Factory, _slot: UUID, booking_id: UUID) -> None:
    await move(make.conn, booking_id, await make.slot(starts_at=START))


async def free_by_fewer_units(make: Factory, _slot: UUID, booking_id: UUID) -> None:
    await make.conn.execute("UPDATE bookings SET units = 1 WHERE id = $1", booking_id)


async def free_by_more_units(make: Factory, slot_id: UUID, _booking: UUID) -> None:
    await make.conn.execute("UPDATE slots SET max_units = 5 WHERE id = $1", slot_id)


async def free_by_opening_again(make: Factory, slot_id: UUID, booking_id: UUID) -> None:
    await make.conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", slot_id)
    await cancel(make.conn, booking_id, p_now=LATER)
    assert await line(make.conn, slot_id) == [("ann", "waiting"), ("ben", "waiting")]
    await make.conn.execute("UPDATE slots SET is_legacy = false WHERE id = $1", slot_id)


Free = Callable[[Factory, UUID, UUID], Awaitable[None]]
WAYS: list[Free] = [
    free_by_cancel,
    free_by_sweep,
    free_by_failed_payment,
    free_by_reschedule,
    free_by_raw_cancel,
    free_by_raw_move,
    free_by_fewer_units,
    free_by_more_units,
    free_by_opening_again,
]


@pytest.mark.parametrize("free", WAYS, ids=lambda way: way.__name__)
async def test_a_place_that_comes_free_is_held_for_the_first_in_line_by_the_statement_that_frees_it(
    make: Factory, conn: asyncpg.Connection, free: Free
) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=2, max_units=3)
    owner = await make.booking(slot_id, p_units=3, p_payment_method="pay_now", p_customer=OWNER, p_now=NOW)
    first = await join(conn, slot_id, "ann", p_units=2, p_payment_method="pay_now")
    await join(conn, slot_id, "ben", p_units=2)

    await free(make, slot_id, owner)

    assert await line(conn, slot_id) == [("ann", "offered"), ("ben", "waiting")]
    booking_id = UUID((await entry_of(conn, first["id"]))["booking_id"])
    booking = (
        "SELECT status, slot_id, units, payment_method, version, expires_at - created_at FROM bookings WHERE id = $1"
    )
    assert await one(conn, booking, booking_id) == ("pending", slot_id, 2, "pay_now", 1, OFFER)
    customer = "SELECT c.ref FROM bookings b JOIN customers c ON c.id = b.customer_id WHERE b.id = $1"
    assert await one(conn, customer, booking_id) == ("ann",)
    assert await jobs_of(conn, booking_id) == {"expire_booking": "pending"}
    await assert_sound(conn)


@pytest.mark.parametrize("free", [free_by_cancel, free_by_raw_cancel], ids=lambda way: way.__name__)
async def test_an_offer_is_undone_with_what_freed_the_place(
    make: Factory, conn: asyncpg.Connection, free: Free
) -> None:
    slot_id, owner = await taken(make)
    await join(conn, slot_id, "ann")
    transaction = conn.transaction()
    await transaction.start()
    await free(make, slot_id, owner)
    assert await line(conn, slot_id) == [("ann", "offered")]

    await transaction.rollback()

    assert await line(conn, slot_id) == [("ann", "waiting")]
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1


async def test_nobody_sees_the_place_free_in_between(make: Factory, conn: asyncpg.Connection, connect: Connect) -> None:
    slot_id, owner = await taken(make)
    await join(conn, slot_id, "ann")
    reader = await connect()

    async with conn.transaction():
        await free_by_cancel(make, slot_id, owner)
        assert await occupancy(conn, slot_id) == await occupancy(reader, slot_id) == (1, 1)

    assert await occupancy(reader, slot_id) == (1, 1)


async def test_as_many_are_offered_a_place_as_there_are_places(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)
    for ref in ("ann", "ben", "cleo"):
        await join(conn, slot_id, ref)

    await conn.execute("UPDATE slots SET max_bookings = 3 WHERE id = $1", slot_id)

    assert await line(conn, slot_id) == [("ann", "offered"), ("ben", "offered"), ("cleo", "waiting")]
    await assert_sound(conn)


async def test_many_places_freed_by_one_statement_are_offered_in_the_order_of_the_line(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=3)
    for _ in range(3):
        await make.booking(slot_id, p_payment_method="pay_now", p_now=NOW)
    for ref in ("ann", "ben", "cleo", "dora"):
        await join(conn, slot_id, ref)

    assert await expire(conn, AFTER_HOLD) == 3

    assert [status for _, status in await line(conn, slot_id)] == ["offered", "offered", "offered", "waiting"]
    await assert_sound(conn)


async def test_a_schedule_that_gives_a_slot_more_places_offers_them(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, p_now=NOW, max_bookings=1)
    slot_id = await conn.fetchval("SELECT id FROM slots WHERE starts_at = $1", START)
    await make.booking(slot_id, p_customer=OWNER, p_now=NOW)
    entry = await join(conn, slot_id, "ann")

    await put_schedule(conn, resource_id, p_now=LATER, max_bookings=2)

    assert at((await entry_of(conn, entry["id"]))["expires_at"]) == LATER + OFFER
    await assert_sound(conn)


async def test_a_schedule_that_takes_a_slot_back_and_brings_it_again_finds_its_line_there(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, p_now=NOW, max_bookings=1)
    slot_id = await conn.fetchval("SELECT id FROM slots WHERE starts_at = $1", START)
    owner = await make.booking(slot_id, p_customer=OWNER, p_now=NOW)
    await join(conn, slot_id, "ann")
    await put_schedule(conn, resource_id, p_now=LATER, max_bookings=1, slot_minutes=45)
    await cancel(conn, owner, p_now=LATER)
    assert await line(conn, slot_id) == [("ann", "waiting")]

    await put_schedule(conn, resource_id, p_now=LATER, max_bookings=1)

    assert await line(conn, slot_id) == [("ann", "offered")]
    await assert_sound(conn)


async def test_places_that_a_raw_update_adds_are_offered_from_now_on(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)
    entry = await join(conn, slot_id, "ann")
    # nobody has touched the slot for a long time
    await conn.execute("UPDATE slots SET updated_at = now() - interval '7 days' WHERE id = $1", slot_id)

    await conn.execute("UPDATE slots SET max_bookings = 2 WHERE id = $1", slot_id)

    until = (await entry_of(conn, entry["id"]))["expires_at"]
    assert at(until) > await conn.fetchval("SELECT now()")


async def test_a_slot_that_has_begun_offers_nothing_to_whoever_opens_it_raw(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(starts_at=datetime.now(UTC) - timedelta(minutes=1))
    await conn.execute("UPDATE slots SET updated_at = now() - interval '7 days'")
    await conn.execute(
        "INSERT INTO waitlist_entries (slot_id, customer_id) VALUES ($1, $2)", slot_id, await make_customer(conn)
    )

    await conn.execute("UPDATE slots SET max_bookings = 2")

    assert await line(conn, slot_id) == [("ann", "waiting")]


async def test_an_import_that_brings_one_more_booking_to_its_full_slot_still_finds_a_place_for_it(
    conn: asyncpg.Connection,
) -> None:
    row = {
        "resource": "Pitch", "timezone": "UTC", "starts_at": START.isoformat(), "ends_at": (START + HOUR).isoformat(),
        "status": "confirmed", "customer": {"ref": "old"}, "units": 1,
        "payment_method": "pay_on_arrival", "payment_status": "pending",
    }  # fmt: skip
    await call(conn, "import_booking", p_row=json.dumps(row | {"external_id": "one"}), p_now=NOW)
    slot_id = await conn.fetchval("SELECT slot_id FROM bookings")
    await join(conn, slot_id, "ann")

    told = await call_value(conn, "import_booking", p_row=json.dumps(row | {"external_id": "two"}), p_now=LATER)

    assert told == "created"
    assert await conn.fetchval("SELECT count(*) FROM bookings WHERE external_id = 'two' AND holds_place") == 1
    await assert_sound(conn)


async def test_the_resource_says_how_long_an_offer_lasts(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    slot_id, owner = await taken(make, resource_id)
    await put_schedule(conn, resource_id, p_now=NOW, offer_minutes=7)
    entry = await join(conn, slot_id, "ann")

    await cancel(conn, owner, p_now=LATER)

    assert at((await entry_of(conn, entry["id"]))["expires_at"]) == LATER + timedelta(minutes=7)


async def test_an_offer_lasts_no_longer_than_until_the_slot_begins(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, owner = await taken(make)
    entry = await join(conn, slot_id, "ann")

    await cancel(conn, owner, p_now=START - TICK)

    assert at((await entry_of(conn, entry["id"]))["expires_at"]) == START
    assert await expire(conn, START) == 1
    assert await line(conn, slot_id) == [("ann", "expired")]


@pytest.mark.parametrize("when", [START, START + HOUR])
async def test_a_place_that_comes_free_when_the_slot_has_begun_is_nobodys(
    make: Factory, conn: asyncpg.Connection, when: Any
) -> None:
    slot_id, owner = await taken(make)
    await join(conn, slot_id, "ann")

    # the cut-off is a rule of the house, passed over with a reason
    await cancel(conn, owner, p_reason="rain", p_now=when)

    assert await line(conn, slot_id) == [("ann", "waiting")]
    assert await occupancy(conn, slot_id) == (0, 0)
    assert await close(conn, when) == 1


async def test_an_offer_that_nobody_takes_goes_down_the_line_with_a_time_of_its_own(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id, owner = await taken(make)
    entries = [await join(conn, slot_id, ref) for ref in ("ann", "ben")]
    await cancel(conn, owner, p_now=LATER)

    assert await expire(conn, LATER + OFFER - TICK) == 0
    assert await expire(conn, LATER + OFFER) == 1
    assert await line(conn, slot_id) == [("ann", "expired"), ("ben", "offered")]
    assert at((await entry_of(conn, entries[1]["id"]))["expires_at"]) == LATER + 2 * OFFER

    assert await expire(conn, LATER + 2 * OFFER) == 1
    assert await line(conn, slot_id) == [("ann", "expired"), ("ben", "expired")]
    assert await occupancy(conn, slot_id) == (0, 0)
    await assert_sound(conn)


async def test_who_asks_for_more_than_is_left_is_passed_over_and_keeps_the_place_in_line(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=9, max_units=4)
    one_unit, three_units = [
        await make.booking(slot_id, p_units=units, p_customer=OWNER, p_now=NOW) for units in (1, 3)
    ]
    big = await join(conn, slot_id, "ann", p_units=3)
    await join(conn, slot_id, "ben")
    await join(conn, slot_id, "cleo", p_units=3)

    await cancel(conn, one_unit, p_now=LATER)
    assert await line(conn, slot_id) == [("ann", "waiting"), ("ben", "offered"), ("cleo", "waiting")]
    assert (await entry_of(conn, big["id"]))["ahead"] == 0

    await cancel(conn, three_units, p_now=LATER)
    assert await line(conn, slot_id) == [("ann", "offered"), ("ben", "offered"), ("cleo", "waiting")]
    assert await occupancy(conn, slot_id) == (2, 4)
    await assert_sound(conn)


async def test_a_newcomer_takes_no_place_that_somebody_waits_for(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, owner = await taken(make)
    await join(conn, slot_id, "ann")

    await cancel(conn, owner, p_now=LATER)

    with refused("SB002", "slot_full"):
        await create_booking(conn, slot_id, p_customer='{"ref": "newcomer"}', p_now=LATER)


async def test_a_newcomer_who_finds_an_offer_over_leaves_the_place_to_the_next_in_line(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id, owner = await taken(make)
    await join(conn, slot_id, "ann")
    await join(conn, slot_id, "ben")
    await cancel(conn, owner, p_now=LATER)

    with refused("SB002", "slot_full"):
        await create_booking(conn, slot_id, p_customer='{"ref": "newcomer"}', p_now=LATER + OFFER)

    assert await expire(conn, LATER + OFFER) == 1
    assert await line(conn, slot_id) == [("ann", "expired"), ("ben", "offered")]


async def test_a_newcomer_takes_the_place_of_the_last_offer_once_it_is_over(
    make: Factory, conn: asyncpg.Connection
) -> None:
    offer = await offered(make, conn)
    slot_id = UUID(offer["slot_id"])

    await create_booking(conn, slot_id, p_customer='{"ref": "newcomer"}', p_now=NOW + OFFER)

    assert await line(conn, slot_id) == [("ann", "expired")]
    await assert_sound(conn)


FOLLOWS: dict[str, tuple[str, dict[str, Any]]] = {
    "confirmed by hand": ("accepted", {"function": "confirm_booking"}),
    "paid": ("accepted", {"function": "record_payment", "p_payment_status": "paid"}),
    "cancelled": ("cancelled", {"function": "cancel_booking"}),
    "failed": ("expired", {"function": "record_payment", "p_payment_status": "failed"}),
}


@pytest.mark.parametrize("step", FOLLOWS)
async def test_an_offer_follows_its_booking(make: Factory, conn: asyncpg.Connection, step: str) -> None:
    offer = await offered(make, conn, p_payment_method="pay_now")
    status, arguments = FOLLOWS[step]

    await change_booking(conn, booking_id=UUID(offer["booking_id"]), version=1, p_now=LATER, **arguments)

    entry = await entry_of(conn, offer["id"])
    assert (entry["status"], at(entry["updated_at"]), entry["expires_at"]) == (status, LATER, None)
    await assert_sound(conn)


@pytest.mark.parametrize(
    ("booking_status", "status"),
    [("confirmed", "accepted"), ("cancelled", "cancelled"), ("expired", "expired"), ("failed", "expired")],
)
async def test_an_offer_follows_its_booking_whoever_writes(
    make: Factory, conn: asyncpg.Connection, booking_status: str, status: str
) -> None:
    offer = await offered(make, conn)
    await join(conn, UUID(offer["slot_id"]), "ben")

    await conn.execute("UPDATE bookings SET status = $1 WHERE id = $2", booking_status, UUID(offer["booking_id"]))

    next_in_line = "waiting" if status == "accepted" else "offered"
    assert await line(conn, UUID(offer["slot_id"])) == [("ann", status), ("ben", next_in_line)]


async def test_an_accepted_offer_stays_so_when_its_booking_is_cancelled_later(
    make: Factory, conn: asyncpg.Connection
) -> None:
    offer = await offered(make, conn)
    slot_id = UUID(offer["slot_id"])
    await accept(conn, offer["id"])
    await join(conn, slot_id, "ben")

    await cancel(conn, UUID(offer["booking_id"]), p_version=2, p_now=LATER + HOUR)

    assert await line(conn, slot_id) == [("ann", "accepted"), ("ben", "offered")]


async def test_late_money_takes_the_offered_place_if_it_is_still_there(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn, p_payment_method="pay_now")
    await expire(conn, NOW + OFFER)
    booking_id = UUID(offer["booking_id"])

    await change_booking(conn, "record_payment", booking_id, 2, p_payment_status="paid", p_now=NOW + 2 * OFFER)

    assert await status_of(conn, booking_id) == "confirmed"
    assert await line(conn, UUID(offer["slot_id"])) == [("ann", "accepted")]
    await assert_sound(conn)


async def test_late_money_does_not_take_a_place_that_went_to_the_next(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn, p_payment_method="pay_now")
    slot_id, booking_id = UUID(offer["slot_id"]), UUID(offer["booking_id"])
    await join(conn, slot_id, "ben")
    await expire(conn, NOW + OFFER)

    # also when that next one has let it go by, for the line goes on
    await join(conn, slot_id, "cleo")
    for hours in (1.5, 2.5):
        with refused("SB013", "hold_expired"):
            late = NOW + hours * OFFER
            await change_booking(conn, "record_payment", booking_id, 2, p_payment_status="paid", p_now=late)

    assert await line(conn, slot_id) == [("ann", "expired"), ("ben", "offered"), ("cleo", "waiting")]


async def test_an_offer_that_is_moved_to_another_slot_leaves_its_place_to_the_next(
    make: Factory, conn: asyncpg.Connection
) -> None:
    offer = await offered(make, conn)
    slot_id, elsewhere = UUID(offer["slot_id"]), await make.slot(starts_at=START)
    await join(conn, slot_id, "ben")

    await change_booking(conn, "reschedule_booking", UUID(offer["booking_id"]), 1, p_slot_id=elsewhere, p_now=LATER)

    assert (await line(conn, slot_id))[1] == ("ben", "offered")
    assert await occupancy(conn, elsewhere) == (1, 1)
    await assert_sound(conn)


async def test_completing_bookings_leaves_the_line_alone(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn)
    await join(conn, UUID(offer["slot_id"]), "ben")
    await accept(conn, offer["id"])
    rows = "SELECT xmin::text, * FROM waitlist_entries ORDER BY place_in_line"
    before = await conn.fetch(rows)

    assert await call_value(conn, "complete_due_bookings", p_actor=SYSTEM, p_limit=9, p_now=START + HOUR) == 1

    assert await conn.fetch(rows) == before
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1


async def trail(conn: asyncpg.Connection, *events: str) -> list[tuple[Any, ...]]:
    """Those events of the audit trail, oldest first: what, who, why, and of which request."""
    rows = await conn.fetch(
        """SELECT event, performed_by, performed_by_id, reason, request_id FROM audit_log
        WHERE event = ANY ($1) ORDER BY id""",
        list(events),
    )
    return [tuple(row) for row in rows]


EVENTS = ("booking.cancelled", "booking.created", "waitlist_entry.offered")
BY_LINE = ("system", "waitlist", None)


async def test_the_line_itself_makes_the_offer_and_the_canceller_keeps_the_own_row(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id, owner = await taken(make)
    await join(conn, slot_id, "ann")

    await cancel(conn, owner, p_reason="rain", p_now=LATER)

    assert (await trail(conn, *EVENTS))[1:] == [
        ("booking.created", *BY_LINE, "r-1"),
        ("waitlist_entry.offered", *BY_LINE, "r-1"),
        ("booking.cancelled", "admin", "tester", "rain", "r-1"),
    ]


async def test_a_raw_cancel_is_the_database_users_own_and_its_offer_the_lines(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, owner = await taken(make)
    await join(conn, slot_id, "ann")
    psql = await connect()

    await psql.execute("UPDATE bookings SET status = 'cancelled' WHERE id = $1", owner)

    user = await conn.fetchval("SELECT session_user")
    assert (await trail(conn, *EVENTS))[1:] == [
        ("booking.created", *BY_LINE, None),
        ("waitlist_entry.offered", *BY_LINE, None),
        ("booking.cancelled", "database", user, None, None),
    ]


async def test_what_the_same_transaction_writes_after_an_offer_is_the_callers_again(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(starts_at=START, max_bookings=2)

    async with conn.transaction():
        await join(conn, slot_id, "ann")
        await conn.execute("UPDATE slots SET max_bookings = 3 WHERE id = $1", slot_id)

    events = await trail(conn, "waitlist_entry.created", "waitlist_entry.offered", "slot.modified")
    assert [(event, by) for event, _, by, *_ in events] == [
        ("waitlist_entry.created", "tester"),
        ("waitlist_entry.offered", "waitlist"),
        ("slot.modified", "tester"),
    ]


async def test_leaving_is_on_record_as_the_customers_own(make: Factory, conn: asyncpg.Connection) -> None:
    offer = await offered(make, conn)

    await leave(conn, offer["id"], p_actor='{"type": "customer", "id": "customer:ann", "customer_ref": "ann"}')

    assert await trail(conn, "waitlist_entry.cancelled", "booking.cancelled") == [
        ("waitlist_entry.cancelled", "customer", "customer:ann", None, None),
        ("booking.cancelled", "customer", "customer:ann", None, None),
    ]


async def test_offering_where_there_is_no_line_or_no_room_does_nothing(make: Factory, conn: asyncpg.Connection) -> None:
    free = await make.slot(starts_at=START)
    full, _ = await taken(make)
    await join(conn, full, "ann")

    for slot_id in (free, full):
        await call_row(conn, "offer_places", p_slot_id=slot_id, p_now=NOW)

    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1
    assert await line(conn, full) == [("ann", "waiting")]


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("status = 'waiting'", "waitlist_entries_booking_check"),
        ("status = 'closed'", "waitlist_entries_booking_check"),
        ("booking_id = NULL", "waitlist_entries_booking_check"),
        ("status = 'accepted', booking_id = NULL", "waitlist_entries_booking_check"),
        ("status = 'expired', booking_id = NULL", "waitlist_entries_booking_check"),
        ("status = 'gone'", "waitlist_entries_status_check"),
        ("units = 0", "waitlist_entries_units_check"),
        ("units = 10001", "waitlist_entries_units_check"),
        ("payment_method = 'cash'", "waitlist_entries_payment_method_check"),
        ("slot_id = gen_random_uuid()", "waitlist_entries_slot_id_fkey"),
        ("customer_id = gen_random_uuid()", "waitlist_entries_customer_id_fkey"),
        ("booking_id = gen_random_uuid()", "waitlist_entries_booking_id_fkey"),
    ],
)
async def test_nonsense_is_refused_whoever_writes_it(
    make: Factory, conn: asyncpg.Connection, change: str, constraint: str
) -> None:
    await offered(make, conn)

    with violates(constraint):
        await conn.execute(f"UPDATE waitlist_entries SET {change}")


async def test_a_customer_stands_in_a_line_once_whoever_writes(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, _ = await taken(make)
    await join(conn, slot_id, "ann")

    with violates("waitlist_entries_live_key"):
        await conn.execute(
            "INSERT INTO waitlist_entries (slot_id, customer_id) SELECT slot_id, customer_id FROM waitlist_entries"
        )


async def test_a_place_in_line_cannot_be_chosen(make: Factory, conn: asyncpg.Connection) -> None:
    await offered(make, conn)

    with refused("428C9"):
        await conn.execute("UPDATE waitlist_entries SET place_in_line = 0")
