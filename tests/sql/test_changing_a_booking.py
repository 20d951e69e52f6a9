"""What cancel, confirm, no-show, payment and reschedule have in common: whose booking it is, and require_version."""

import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.factories import TOMORROW, Factory, change_booking
from tests.sql.support import one, refused

# each change, what else it needs, and how to make a booking it applies to
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cancel_booking": ({}, {}),
    "confirm_booking": ({}, {"p_payment_method": "pay_now"}),
    "mark_no_show": ({"p_now": TOMORROW.replace(year=TOMORROW.year + 1)}, {}),
    "record_payment": ({"p_payment_status": "paid"}, {"p_payment_method": "pay_now"}),
    "reschedule_booking": ({}, {}),
}


Change = tuple[str, UUID, dict[str, Any]]


@pytest.fixture(params=CHANGES)
async def change(request: pytest.FixtureRequest, make: Factory) -> Change:
    arguments, booking = CHANGES[request.param]
    booking_id = await make.booking(**booking)
    if request.param == "reschedule_booking":
        arguments = {"p_slot_id": await make.slot()}
    return request.param, booking_id, arguments


async def test_it_answers_the_booking_with_its_next_version(change: Change, conn: asyncpg.Connection) -> None:
    function, booking_id, arguments = change

    row = await change_booking(conn, function, booking_id, 1, **arguments)

    assert (row["booking_id"], row["booking_version"], row["replayed"]) == (booking_id, 2, False)
    assert json.loads(row["body"])["version"] == 2


async def test_a_stale_version_changes_nothing(change: Change, conn: asyncpg.Connection) -> None:
    function, booking_id, arguments = change
    before = await conn.fetchrow("SELECT * FROM bookings WHERE id = $1", booking_id)

    with refused("SB006", "version_conflict") as refusal:
        await change_booking(conn, function, booking_id, 7, **arguments)

    assert refusal.detail["current_version"] == 1
    assert await conn.fetchrow("SELECT * FROM bookings WHERE id = $1", booking_id) == before


async def test_an_unknown_booking_is_not_found(change: Change, conn: asyncpg.Connection) -> None:
    function, _, arguments = change

    with refused("SB005", "booking_not_found"):
        await change_booking(conn, function, uuid4(), 1, **arguments)


async def test_the_same_key_repeats_the_answer_and_not_the_change(change: Change, conn: asyncpg.Connection) -> None:
    function, booking_id, arguments = change
    arguments |= {"p_idempotency_key": "k", "p_request_hash": b"h"}

    first = await change_booking(conn, function, booking_id, 1, **arguments)
    second = await change_booking(conn, function, booking_id, 1, **arguments)

    assert (first["replayed"], second["replayed"]) == (False, True)
    assert first["body"] == second["body"]
    assert await conn.fetchval("SELECT version FROM bookings WHERE id = $1", booking_id) == 2


async def test_the_change_is_on_record_with_its_actor(change: Change, conn: asyncpg.Connection) -> None:
    function, booking_id, arguments = change

    await change_booking(conn, function, booking_id, 1, **arguments)

    performed_by, by_id, request_id, version = await one(
        conn,
        """SELECT performed_by, performed_by_id, request_id, old_values ->> 'version'
        FROM audit_log WHERE subject_id = $1 ORDER BY id DESC LIMIT 1""",
        str(booking_id),
    )
    assert (performed_by, by_id, request_id, version) == ("admin", "tester", "r-1", "1")


def token_of(ref: str) -> str:
    """The actor behind that customer's own token."""
    return json.dumps({"type": "customer", "id": f"customer:{ref}", "customer_ref": ref})


async def test_a_customers_token_changes_an_own_booking(change: Change, conn: asyncpg.Connection) -> None:
    function, booking_id, arguments = change

    row = await change_booking(conn, function, booking_id, 1, p_actor=token_of("ann"), **arguments)

    assert row["booking_version"] == 2
    query = "SELECT performed_by, performed_by_id FROM audit_log WHERE subject_id = $1 ORDER BY id DESC LIMIT 1"
    assert await one(conn, query, str(booking_id)) == ("customer", "customer:ann")


async def test_a_customers_token_changes_nobody_elses(change: Change, conn: asyncpg.Connection) -> None:
    function, booking_id, arguments = change
    before = await conn.fetchrow("SELECT * FROM bookings WHERE id = $1", booking_id)

    # also with a version that would conflict: even that it exists is nobody else's to know
    for version in (1, 7):
        with refused("SB005", "booking_not_found"):
            await change_booking(conn, function, booking_id, version, p_actor=token_of("bob"), **arguments)

    assert await conn.fetchrow("SELECT * FROM bookings WHERE id = $1", booking_id) == before


async def test_the_answer_under_one_customers_key_is_not_repeated_to_another(
    change: Change, conn: asyncpg.Connection
) -> None:
    function, booking_id, arguments = change
    arguments |= {"p_idempotency_key": "k", "p_request_hash": b"h"}
    await change_booking(conn, function, booking_id, 1, p_actor=token_of("ann"), **arguments)

    with refused("SB005", "booking_not_found"):
        await change_booking(conn, function, booking_id, 1, p_actor=token_of("bob"), **arguments)

    again = await change_booking(conn, function, booking_id, 1, p_actor=token_of("ann"), **arguments)
    assert again["replayed"]
