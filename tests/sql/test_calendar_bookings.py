"""calendar_bookings: what a calendar shows of a resource, or of a customer, and from when on."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import HOUR, Factory, change_booking
from tests.sql.support import NOBODY, TICK, at, call, call_row, refused, without_indexes

NOW = at("2030-06-03T10:00")
MONTH = timedelta(days=31)


async def book(make: Factory, slot_id: UUID, **overrides: Any) -> UUID:
    """A booking made long before the slot begins."""
    return await make.booking(slot_id, **{"p_now": NOW - 2 * MONTH} | overrides)


async def shown(conn: asyncpg.Connection, **arguments: Any) -> list[UUID]:
    rows = await call(conn, "calendar_bookings", **{"p_now": NOW} | arguments)
    return [row["booking_id"] for row in rows]


async def test_a_row_says_all_that_an_event_is_made_of(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource("Court 1")
    slot_id = await make.slot(resource_id, starts_at=NOW, max_units=9)
    booking_id = await book(make, slot_id, p_customer='{"ref": "ann", "name": "Ann Archer"}', p_units=3)
    await change_booking(conn, "record_payment", booking_id, 1, p_payment_status="paid", p_now=NOW - HOUR)

    row = await call_row(conn, "calendar_bookings", p_resource_id=resource_id, p_now=NOW)

    assert dict(row) == {
        "booking_id": booking_id,
        "reference": await conn.fetchval("SELECT reference FROM bookings"),
        "resource_name": "Court 1",
        "customer": "Ann Archer",
        "status": "confirmed",
        "units": 3,
        "starts_at": NOW,
        "ends_at": NOW + HOUR,
        "version": 2,
        "created_at": NOW - 2 * MONTH,
        "updated_at": NOW - HOUR,
    }


@pytest.mark.parametrize(
    ("customer", "shown_as"),
    [
        ({"ref": "r", "name": "n", "email": "e", "phone": "p"}, "n"),
        ({"ref": "r", "email": "e", "phone": "p"}, "r"),
        ({"email": "e", "phone": "p"}, "e"),
        ({"phone": "p"}, "p"),
    ],
)
async def test_a_customer_goes_by_the_first_of_what_is_known(
    make: Factory, conn: asyncpg.Connection, customer: dict[str, str], shown_as: str
) -> None:
    await book(make, await make.slot(starts_at=NOW), p_customer=json.dumps(customer))

    assert (await call_row(conn, "calendar_bookings", p_now=NOW))["customer"] == shown_as


async def test_a_booking_is_shown_until_it_began_31_days_ago(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    starts = [NOW - MONTH - TICK, NOW - MONTH, NOW - MONTH + TICK, NOW, NOW + 12 * MONTH]
    old, edge, young, today, far = [
        await book(make, await make.slot(resource_id, starts_at=starts_at)) for starts_at in starts
    ]

    assert await shown(conn, p_resource_id=resource_id) == [young, today, far]
    assert await shown(conn, p_customer_ref="ann") == [young, today, far]
    assert await shown(conn, p_resource_id=resource_id, p_now=NOW - HOUR) == [old, edge, young, today, far]


async def test_a_resource_shows_its_own_bookings_and_a_customer_theirs(make: Factory, conn: asyncpg.Connection) -> None:
    here, there = await make.resource("Here"), await make.resource("There")
    ann_here = await book(make, await make.slot(here, starts_at=NOW))
    bob_here = await book(make, await make.slot(here, starts_at=NOW + HOUR), p_customer='{"ref": "bob"}')
    ann_there = await book(make, await make.slot(there, starts_at=NOW + 2 * HOUR))
    await book(make, await make.slot(there, starts_at=NOW + 3 * HOUR), p_customer='{"name": "ann"}')

    assert await shown(conn, p_resource_id=here) == [ann_here, bob_here]
    assert await shown(conn, p_customer_ref="ann") == [ann_here, ann_there]
    assert await shown(conn, p_customer_ref="bob") == [bob_here]
    assert await shown(conn, p_resource_id=there, p_customer_ref="ann") == [ann_there]
    assert await shown(conn, p_customer_ref="nobody") == []
    assert await shown(conn, p_customer_ref="") == []


async def test_bookings_that_are_over_are_shown_so_that_a_calendar_takes_them_back(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    kept, gone = [await book(make, await make.slot(resource_id, starts_at=NOW + n * HOUR)) for n in (0, 1)]
    await change_booking(conn, "cancel_booking", gone, 1, p_now=NOW)

    rows = await call(conn, "calendar_bookings", p_resource_id=resource_id, p_now=NOW)

    assert [(row["booking_id"], row["status"], row["version"]) for row in rows] == [
        (kept, "confirmed", 1),
        (gone, "cancelled", 2),
    ]


async def test_a_booking_that_moved_is_one_row_at_its_new_time(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    booking_id = await book(make, await make.slot(resource_id, starts_at=NOW + HOUR))
    slot_id = await make.slot(resource_id, starts_at=NOW + 5 * HOUR)
    await change_booking(conn, "reschedule_booking", booking_id, 1, p_slot_id=slot_id, p_now=NOW)

    row = await call_row(conn, "calendar_bookings", p_resource_id=resource_id, p_now=NOW)

    assert (row["booking_id"], row["starts_at"], row["version"]) == (booking_id, NOW + 5 * HOUR, 2)


async def test_bookings_come_by_start_also_where_starts_are_equal(make: Factory, conn: asyncpg.Connection) -> None:
    for hours in (2, 1, 1, 0, 1):
        await book(make, await make.slot(starts_at=NOW + hours * HOUR))
    in_order = [row["id"] for row in await conn.fetch("SELECT id FROM bookings ORDER BY starts_at, id")]

    await without_indexes(conn)
    assert await shown(conn, p_customer_ref="ann") == in_order


async def test_a_resource_without_bookings_shows_none_and_an_unknown_one_is_told_so(
    make: Factory, conn: asyncpg.Connection
) -> None:
    assert await shown(conn, p_resource_id=await make.resource()) == []

    with refused("SB009", "resource_not_found"):
        await shown(conn, p_resource_id=NOBODY)
