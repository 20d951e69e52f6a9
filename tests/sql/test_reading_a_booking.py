"""get_booking, booking_json, booking_history: one booking, and all that became of it."""

import json

import asyncpg
import pytest

from tests.factories import TOMORROW, Factory
from tests.sql.support import NOBODY, call_json, call_row, cancel, refused


async def test_it_reads_as_it_was_answered_when_made(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(
        p_units=2, p_metadata='{"seat": [4, "b"]}', p_customer='{"ref": "ann", "email": "ann@example.com"}'
    )

    row = await call_row(conn, "get_booking", p_booking_id=booking_id)

    body = json.loads(row["body"])
    assert (row["booking_id"], row["booking_version"]) == (booking_id, 1)
    assert (body["id"], body["units"], body["metadata"]) == (str(booking_id), 2, {"seat": [4, "b"]})
    assert (body["status"], body["payment_status"], body["expires_at"]) == ("confirmed", "pending", None)
    assert body["customer_ref"] == "ann"


async def test_it_shows_no_personal_data(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(p_customer='{"name": "Ann Example", "email": "ann@example.com"}')

    body = (await call_row(conn, "get_booking", p_booking_id=booking_id))["body"]

    assert "Ann" not in body
    assert "example" not in body
    assert json.loads(body)["customer_ref"] is None


async def test_booking_json_is_the_one_shape_of_a_booking(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    cancelled = json.loads((await cancel(conn, booking_id))["body"])
    listed = (await call_json(conn, "list_bookings"))["items"]
    by_hand = await conn.fetchval("SELECT booking_json(b, 'ann') FROM bookings b")

    assert json.loads(by_hand) == cancelled == listed[0]


async def test_the_history_is_every_change_oldest_first(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(p_now=TOMORROW)
    await make.booking()
    await conn.execute("UPDATE bookings SET metadata = '{\"seat\": 4}' WHERE id = $1", booking_id)
    await cancel(conn, booking_id, p_version=2, p_reason="rain")

    items = (await call_json(conn, "booking_history", p_booking_id=booking_id))["items"]

    assert [(item["event"], item["reason"]) for item in items] == [
        ("booking.created", None),
        ("booking.modified", None),
        ("booking.cancelled", "rain"),
    ]
    assert {item["subject_id"] for item in items} == {str(booking_id)}
    assert items[0]["ip_address"] == "192.0.2.1"


async def test_an_unknown_booking_is_not_found(conn: asyncpg.Connection) -> None:
    for function in ("get_booking", "booking_history"):
        with refused("SB005", "booking_not_found") as refusal:
            await call_row(conn, function, p_booking_id=NOBODY)
        assert refusal.detail == {"booking_id": str(NOBODY)}


async def test_a_customer_reads_an_own_booking_as_anybody_else_does(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()

    own = await call_row(conn, "get_booking", p_booking_id=booking_id, p_customer_ref="ann")

    assert own == await call_row(conn, "get_booking", p_booking_id=booking_id)


@pytest.mark.parametrize("customer", [{"ref": "ann"}, {"ref": "Bob"}, {"name": "bob"}], ids=json.dumps)
async def test_nobody_elses_booking_is_found_for_a_customer(
    make: Factory, conn: asyncpg.Connection, customer: dict[str, str]
) -> None:
    booking_id = await make.booking(p_customer=json.dumps(customer))

    with refused("SB005", "booking_not_found") as refusal:
        await call_row(conn, "get_booking", p_booking_id=booking_id, p_customer_ref="bob")

    assert refusal.detail == {"booking_id": str(booking_id)}


async def test_a_customers_list_holds_own_bookings_alone(make: Factory, conn: asyncpg.Connection) -> None:
    own = await make.booking()
    for customer in ('{"ref": "bob"}', '{"name": "ann"}'):
        await make.booking(p_customer=customer)

    items = (await call_json(conn, "list_bookings", p_customer_ref="ann"))["items"]

    assert [item["id"] for item in items] == [str(own)]
