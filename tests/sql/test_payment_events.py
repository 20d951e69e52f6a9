"""record_payment_event, list_payment_events: what a provider tells is on record once, with what became of it."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import ACTOR, HOUR, SYSTEM, Factory, change_booking, create_booking
from tests.sql.support import NOBODY, at, call_json, call_row, jobs_of, occupancy, one, status_of

STRIPE = json.dumps({"type": "system", "id": "stripe", "ip": "192.0.2.7", "request_id": "r-7"})
STARTS = at("2030-06-03T10:00")
NOW = STARTS - 48 * HOUR
HOLD = timedelta(minutes=15)
SOON, LATE = NOW + HOLD / 2, NOW + 2 * HOLD


async def slot(make: Factory, **columns: Any) -> UUID:
    return await make.slot(**{"starts_at": STARTS} | columns)


async def hold(make: Factory, slot_id: UUID | None = None, **overrides: Any) -> UUID:
    """A hold taken at NOW."""
    arguments = {"p_payment_method": "pay_now", "p_now": NOW} | overrides
    return await make.booking(slot_id or await slot(make), **arguments)


async def tell(
    conn: asyncpg.Connection,
    booking_id: UUID | None,
    payment_status: str | None = "paid",
    event_id: str = "evt_1",
    *,
    now: Any = SOON,
) -> dict[str, Any]:
    """The event as record_payment_event answers it."""
    event: dict[str, Any] = await call_json(
        conn,
        "record_payment_event",
        p_actor=STRIPE,
        p_event_id=event_id,
        p_event_type="checkout.session.completed",
        p_booking_id=booking_id,
        p_payment_status=payment_status,
        p_now=now,
    )
    return event


async def expire(conn: asyncpg.Connection) -> None:
    """What a sweep does when the hold's time is over."""
    assert await conn.fetchval("SELECT expire_due_bookings($1, 10, $2)", SYSTEM, NOW + HOLD) > 0


async def take(conn: asyncpg.Connection, slot_id: UUID, **overrides: Any) -> None:
    """Somebody else books the slot once the hold is over."""
    await create_booking(conn, slot_id, **{"p_customer": '{"ref": "ben"}', "p_now": NOW + HOLD} | overrides)


async def everything(conn: asyncpg.Connection) -> list[Any]:
    """All that an event might change, but for the events themselves."""
    tables = ("bookings", "slots", "jobs", "customers", "audit_log", "waitlist_entries", "idempotency_keys")
    return [await conn.fetch(f"SELECT xmin::text, t.* FROM {table} t ORDER BY t::text") for table in tables]


def verdict(event: dict[str, Any]) -> tuple[str, str | None]:
    return event["outcome"], event["action"]


async def events(conn: asyncpg.Connection) -> int:
    return int(await conn.fetchval("SELECT count(*) FROM payment_events"))


async def test_money_for_a_hold_is_recorded_and_confirms_it(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await hold(make)

    event = await tell(conn, booking_id)

    assert event == {
        "id": "evt_1",
        "event_type": "checkout.session.completed",
        "booking_id": str(booking_id),
        "payment_status": "paid",
        "outcome": "recorded",
        "action": None,
        "created_at": SOON.isoformat(),
    }
    row = await one(conn, "SELECT status, payment_status, expires_at, version, updated_at FROM bookings")
    assert row == ("confirmed", "paid", None, 2, SOON)
    assert await jobs_of(conn, booking_id) == {"expire_booking": "cancelled", "complete_booking": "pending"}


async def test_money_for_a_booking_to_be_paid_on_arrival_leaves_its_status(
    make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = await hold(make, p_payment_method="pay_on_arrival")

    assert verdict(await tell(conn, booking_id)) == ("recorded", None)
    assert await one(conn, "SELECT status, payment_status FROM bookings") == ("confirmed", "paid")


async def test_a_failed_payment_ends_the_hold_and_frees_its_place(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await slot(make)
    booking_id = await hold(make, slot_id)

    assert verdict(await tell(conn, booking_id, "failed")) == ("recorded", None)
    assert await one(conn, "SELECT status, payment_status FROM bookings") == ("failed", "failed")
    assert await occupancy(conn, slot_id) == (0, 0)


@pytest.mark.parametrize("change", [None, "cancel_booking"])
async def test_a_refund_is_recorded_and_leaves_the_status(
    make: Factory, conn: asyncpg.Connection, change: str | None
) -> None:
    booking_id = await hold(make)
    await tell(conn, booking_id)
    if change:
        await change_booking(conn, change, booking_id, 2, p_now=SOON)
    status = await status_of(conn, booking_id)

    assert verdict(await tell(conn, booking_id, "refunded", "evt_2")) == ("recorded", None)
    assert await one(conn, "SELECT status, payment_status FROM bookings") == (status, "refunded")


async def test_what_is_recorded_says_that_stripe_did_it(make: Factory, conn: asyncpg.Connection) -> None:
    await tell(conn, await hold(make))

    query = """SELECT event, performed_by, performed_by_id, host(ip_address), request_id
        FROM audit_log ORDER BY id DESC LIMIT 1"""
    assert await one(conn, query) == ("booking.confirmed", "system", "stripe", "192.0.2.7", "r-7")


@pytest.mark.parametrize("payment_status", ["paid", "failed", "refunded", None])
async def test_the_same_event_again_is_answered_as_before_and_changes_nothing(
    make: Factory, conn: asyncpg.Connection, payment_status: str | None
) -> None:
    booking_id = await hold(make)
    first = await tell(conn, booking_id, payment_status)
    before = await everything(conn)

    assert await tell(conn, booking_id, payment_status, now=SOON + HOUR) == first
    assert await everything(conn) == before
    assert await events(conn) == 1


async def test_an_event_of_a_known_id_is_the_known_one_whatever_else_it_says(
    make: Factory, conn: asyncpg.Connection
) -> None:
    first = await tell(conn, None)
    booking_id = await hold(make)
    before = await everything(conn)

    assert await tell(conn, booking_id) == first
    assert await everything(conn) == before


async def test_another_event_of_the_same_payment_is_unchanged(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await hold(make)
    await tell(conn, booking_id)
    before = await everything(conn)

    assert verdict(await tell(conn, booking_id, "paid", "evt_2")) == ("unchanged", None)
    assert await everything(conn) == before


async def test_an_event_that_says_nothing_final_is_ignored(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await hold(make)
    before = await everything(conn)

    event = await tell(conn, booking_id, None)

    assert (event["booking_id"], event["payment_status"], *verdict(event)) == (str(booking_id), None, "ignored", None)
    assert verdict(await tell(conn, NOBODY, None, "evt_2")) == ("ignored", None)
    assert verdict(await tell(conn, None, None, "evt_3")) == ("ignored", None)
    assert await everything(conn) == before


@pytest.mark.parametrize("booking_id", [None, NOBODY])
@pytest.mark.parametrize(("payment_status", "action"), [("paid", "find_booking"), ("failed", None), ("refunded", None)])
async def test_money_for_a_booking_that_nobody_knows_is_to_be_looked_for(
    conn: asyncpg.Connection, booking_id: UUID | None, payment_status: str, action: str | None
) -> None:
    event = await tell(conn, booking_id, payment_status)

    assert verdict(event) == ("booking_not_found", action)
    assert event["booking_id"] == (booking_id and str(booking_id))
    assert await events(conn) == 1


async def test_late_money_confirms_a_hold_whose_place_nobody_took(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await slot(make)
    booking_id = await hold(make, slot_id)

    assert verdict(await tell(conn, booking_id, now=LATE)) == ("recorded", None)
    assert await status_of(conn, booking_id) == "confirmed"
    assert await occupancy(conn, slot_id) == (1, 1)


async def test_late_money_takes_a_place_that_was_freed_again(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await slot(make)
    booking_id = await hold(make, slot_id)
    await expire(conn)
    assert await occupancy(conn, slot_id) == (0, 0)

    assert verdict(await tell(conn, booking_id, now=LATE)) == ("recorded", None)
    assert await status_of(conn, booking_id) == "confirmed"
    assert await occupancy(conn, slot_id) == (1, 1)
    assert await jobs_of(conn, booking_id) == {"expire_booking": "processed", "complete_booking": "pending"}


async def test_late_money_for_a_place_that_is_taken_is_kept_and_listed_for_a_refund(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await slot(make)
    booking_id = await hold(make, slot_id)
    await take(conn, slot_id)
    before = await everything(conn)

    event = await tell(conn, booking_id, now=LATE)

    assert verdict(event) == ("hold_expired", "refund")
    assert (await call_json(conn, "list_payment_events", p_outcome="hold_expired"))["items"] == [event]
    assert await everything(conn) == before


@pytest.mark.parametrize("gone", ["too few units", "closed", "begun"])
async def test_late_money_finds_no_place_also_where(make: Factory, conn: asyncpg.Connection, gone: str) -> None:
    slot_id = await slot(make, max_bookings=3, max_units=4)
    booking_id = await hold(make, slot_id, p_units=3)
    await expire(conn)
    if gone == "too few units":
        await take(conn, slot_id, p_units=2)
    elif gone == "closed":
        await conn.execute("UPDATE slots SET is_legacy = true")
    before = await everything(conn)

    event = await tell(conn, booking_id, now=STARTS if gone == "begun" else LATE)

    assert verdict(event) == ("hold_expired", "refund")
    assert await everything(conn) == before


async def test_money_that_found_no_place_does_not_get_one_by_being_told_again(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await slot(make)
    booking_id = await hold(make, slot_id)
    await take(conn, slot_id)
    first = await tell(conn, booking_id, now=LATE)
    await conn.execute("UPDATE bookings SET status = 'cancelled' WHERE status = 'confirmed'")

    # somebody may have given it back already
    assert await tell(conn, booking_id, now=LATE) == first
    assert await status_of(conn, booking_id) == "expired"


async def test_a_hold_that_keeps_others_out_is_not_ended_by_money_that_finds_no_place(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await slot(make, max_bookings=2, max_units=4)
    lapsed = await hold(make, slot_id, p_units=4)
    await take(conn, slot_id, p_units=3)
    other = await hold(make, slot_id, p_customer='{"ref": "cid"}')

    # to look for room, the other hold, over as well by then, is ended; as that is not enough, it must come back
    assert verdict(await tell(conn, lapsed, now=LATE + HOUR)) == ("hold_expired", "refund")
    assert await status_of(conn, other) == "pending"
    assert await occupancy(conn, slot_id) == (2, 4)


async def money_after(make: Factory, conn: asyncpg.Connection, step: str) -> UUID:
    """A hold that took that step at SOON."""
    booking_id = await hold(make)
    if step == "cancelled":
        await change_booking(conn, "cancel_booking", booking_id, 1, p_now=SOON)
    else:
        for n, payment_status in enumerate(step.split()):
            await tell(conn, booking_id, payment_status, f"evt_before_{n}")
    return booking_id


@pytest.mark.parametrize(
    ("step", "then", "action"),
    [
        ("cancelled", "paid", "refund"),
        ("failed", "paid", "refund"),
        ("paid", "failed", None),
        ("paid refunded", "failed", None),
        ("cancelled", "failed", None),
        ("cancelled", "refunded", None),
        ("failed", "refunded", None),
    ],
)
async def test_what_comes_out_of_order_is_kept_and_changes_nothing(
    make: Factory, conn: asyncpg.Connection, step: str, then: str, action: str | None
) -> None:
    booking_id = await money_after(make, conn, step)
    before = await everything(conn)

    event = await tell(conn, booking_id, then)

    assert verdict(event) == ("invalid_transition", action)
    assert await everything(conn) == before


async def test_money_that_is_given_back_already_is_not_to_be_given_back_again(
    make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = await money_after(make, conn, "paid refunded")
    before = await everything(conn)

    # a payment is told twice, by its session and by its intent, and the second may come last of all
    event = await tell(conn, booking_id, "paid", "evt_late_twin")

    assert event["action"] is None
    assert await everything(conn) == before


async def test_a_refund_before_its_payment_is_kept(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await hold(make)
    before = await everything(conn)

    assert verdict(await tell(conn, booking_id, "refunded")) == ("invalid_transition", None)
    assert await everything(conn) == before


@pytest.mark.parametrize("payment_status", ["failed", "refunded"])
async def test_a_booking_to_be_paid_on_arrival_takes_no_other_word_of_a_provider(
    make: Factory, conn: asyncpg.Connection, payment_status: str
) -> None:
    booking_id = await hold(make, p_payment_method="pay_on_arrival")
    before = await everything(conn)

    assert verdict(await tell(conn, booking_id, payment_status)) == ("invalid_transition", None)
    assert await everything(conn) == before


async def test_paying_for_an_offer_from_a_waitlist_accepts_it(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await slot(make)
    joined = await call_row(
        conn,
        "join_waitlist",
        p_actor=ACTOR,
        p_slot_id=slot_id,
        p_customer='{"ref": "ann"}',
        p_payment_method="pay_now",
        p_now=NOW,
    )
    booking_id = UUID(json.loads(joined["body"])["booking_id"])

    assert verdict(await tell(conn, booking_id)) == ("recorded", None)
    assert await one(conn, "SELECT status, booking_id FROM waitlist_entries") == ("accepted", booking_id)


async def listed(conn: asyncpg.Connection, **arguments: Any) -> list[list[str]]:
    """The ids on each page, following the cursor to the end."""
    found: list[list[str]] = []
    cursor = None
    while len(found) < 10:
        page = await call_json(conn, "list_payment_events", p_cursor=cursor, **arguments)
        found.append([item["id"] for item in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            return found
    raise AssertionError(found)


async def test_pages_hold_every_event_once(conn: asyncpg.Connection) -> None:
    ids = ["evt_1B", "evt_1a", "evt_10", "evt_9", "pi:1 x", "~", "!"]
    for event_id in ids:
        await tell(conn, None, "paid", event_id)

    for limit in (1, 2, 3, 7, 8):
        pages = await listed(conn, p_limit=limit)
        assert sorted(event_id for page in pages for event_id in page) == sorted(ids)
        assert {len(page) for page in pages[:-1]} <= {limit}
        assert len(pages[-1]) > 0


async def test_an_outcome_leaves_the_events_that_had_it_on_every_page(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await hold(make)
    await tell(conn, booking_id, "paid", "evt_b")
    for event_id in ("evt_a", "evt_c", "evt_e"):
        await tell(conn, None, "paid", event_id)
    await tell(conn, booking_id, "paid", "evt_d")

    assert await listed(conn, p_outcome="booking_not_found", p_limit=2) == [["evt_a", "evt_c"], ["evt_e"]]
    assert await listed(conn, p_outcome="recorded", p_limit=2) == [["evt_b"]]
    assert await listed(conn, p_outcome="hold_expired") == [[]]


async def test_an_item_is_the_event_as_it_was_answered(make: Factory, conn: asyncpg.Connection) -> None:
    recorded = [await tell(conn, await hold(make), "paid", "evt_1"), await tell(conn, None, "paid", "evt_2")]

    assert (await call_json(conn, "list_payment_events"))["items"] == recorded
    assert [json.loads(row[0]) for row in await conn.fetch("SELECT payment_event_json(e) FROM payment_events e")] == (
        recorded
    )


async def test_no_events_are_one_empty_page(conn: asyncpg.Connection) -> None:
    assert await call_json(conn, "list_payment_events") == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("cursor", ["zz", "abc", "00", "ff", "6", "é"])
async def test_a_broken_cursor_is_a_data_exception(conn: asyncpg.Connection, cursor: str) -> None:
    with pytest.raises(asyncpg.DataError):
        await call_json(conn, "list_payment_events", p_cursor=cursor)
