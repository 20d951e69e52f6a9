"""/v1/bookings: take a place, see it, give it back."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from tests.api.calls import assert_problem, book, booking_body, cancel
from tests.factories import HOUR, TOMORROW, Factory

MEMBERS = {
    *("id", "reference", "resource_id", "slot_id", "customer_ref", "status", "units", "payment_method"),
    *("payment_status", "starts_at", "ends_at", "expires_at", "external_id", "version", "metadata"),
    *("created_at", "updated_at"),
}


async def test_a_booking_is_confirmed_and_found_at_its_location(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id = await make.slot(starts_at=TOMORROW, max_units=9)

    answer = await book(frontend, slot_id, units=4, metadata={"table": [1, 2]})

    body = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert answer.headers["location"] == f"/v1/bookings/{body['id']}"
    assert "idempotent-replayed" not in answer.headers
    assert body.keys() == MEMBERS
    assert (body["status"], body["units"], body["version"]) == ("confirmed", 4, 1)
    assert (body["payment_method"], body["payment_status"]) == ("pay_on_arrival", "pending")
    assert (body["slot_id"], body["customer_ref"]) == (str(slot_id), "ann")
    assert (body["metadata"], body["expires_at"]) == ({"table": [1, 2]}, None)
    assert datetime.fromisoformat(body["starts_at"]) == TOMORROW
    assert datetime.fromisoformat(body["ends_at"]) == TOMORROW + HOUR

    read = await frontend.get(answer.headers["location"])
    assert (read.status_code, read.headers["etag"], read.json()) == (200, '"1"', body)


async def test_pay_now_answers_a_hold_that_says_how_long_it_lasts(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id = await make.slot(max_bookings=1)

    held = (await book(frontend, slot_id, payment_method="pay_now")).json()

    assert (held["status"], held["payment_status"]) == ("pending", "pending")
    lasts = datetime.fromisoformat(held["expires_at"]) - datetime.fromisoformat(held["created_at"])
    assert lasts == timedelta(minutes=15)
    assert_problem(await book(frontend, slot_id), 409, "slot_full")


async def test_a_full_slot_says_what_is_left(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id = await make.slot(max_bookings=1, max_units=5)
    await make.booking(slot_id, p_units=2)

    problem = assert_problem(await book(frontend, slot_id), 409, "slot_full")

    assert (problem["remaining_bookings"], problem["remaining_units"], problem["retryable"]) == (0, 3, False)


async def test_more_units_than_are_left_are_refused(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id = await make.slot(max_bookings=2, max_units=5)

    problem = assert_problem(await book(frontend, slot_id, units=6), 409, "insufficient_units")

    assert problem["remaining_units"] == 5


async def test_a_slot_that_has_begun_is_refused(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id = await make.slot(starts_at=datetime.now(UTC) - timedelta(seconds=1))

    assert_problem(await book(frontend, slot_id), 409, "slot_in_past")


async def test_a_legacy_slot_is_closed(frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot()
    await conn.execute("UPDATE slots SET is_legacy = true")

    assert_problem(await book(frontend, slot_id), 409, "slot_closed")


async def test_an_unknown_slot_and_an_unknown_booking_are_not_found(frontend: httpx2.AsyncClient) -> None:
    nowhere = uuid4()

    assert_problem(await book(frontend, nowhere), 404, "slot_not_found")
    assert_problem(await frontend.get(f"/v1/bookings/{nowhere}"), 404, "booking_not_found")
    assert_problem(await frontend.get(f"/v1/bookings/{nowhere}/history"), 404, "booking_not_found")
    assert_problem(await cancel(frontend, nowhere), 404, "booking_not_found")


@pytest.mark.parametrize(
    "customer",
    [
        None,
        {},
        {"ref": None},
        {"ref": ""},
        {"ref": "  "},
        {"ref": "x" * 201},
        {"ref": 7},
        {"ref": "ann", "age": 7},
        {"email": ["ann@example.com"]},
        "ann",
        [],
    ],
)
async def test_a_customer_who_is_nobody_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, customer: object
) -> None:
    answer = await book(frontend, await make.slot(), customer=customer)

    assert assert_problem(answer, 422, "validation")["errors"][0]["field"].startswith("body.customer")
    assert await conn.fetchval("SELECT count(*) FROM customers") == 0


@pytest.mark.parametrize("field", ["ref", "name", "email", "phone"])
async def test_any_one_way_to_name_the_customer_is_enough(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, field: str
) -> None:
    answer = await book(frontend, await make.slot(), customer={field: " ann "})

    assert answer.status_code == 201
    assert answer.json()["customer_ref"] == ("ann" if field == "ref" else None)
    assert await conn.fetchval(f"SELECT {field} FROM customers") == "ann"


@pytest.mark.parametrize("units", [0, -1, 10_001, 1.5, None, "many", 2**31, 2**63])
async def test_units_are_a_whole_number_from_1_to_10000(
    frontend: httpx2.AsyncClient, make: Factory, units: object
) -> None:
    answer = await book(frontend, await make.slot(), units=units)

    assert assert_problem(answer, 422, "validation")["errors"][0]["field"] == "body.units"


async def test_cancelling_frees_the_place_and_grows_the_version(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id = await make.slot(max_bookings=1)
    booked = (await book(frontend, slot_id)).json()

    cancelled = await cancel(frontend, booked["id"])

    assert (cancelled.status_code, cancelled.headers["etag"]) == (200, '"2"')
    assert (cancelled.json()["status"], cancelled.json()["version"]) == ("cancelled", 2)
    assert (await frontend.get(f"/v1/bookings/{booked['id']}")).json() == cancelled.json()
    assert (await book(frontend, slot_id)).status_code == 201


async def test_a_cancelled_booking_cannot_be_cancelled_again(frontend: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = await make.booking()
    await cancel(frontend, booking_id)

    problem = assert_problem(await cancel(frontend, booking_id, '"2"'), 409, "invalid_transition")

    assert (problem["from"], problem["to"]) == ("cancelled", "cancelled")


async def test_cancelling_needs_if_match(frontend: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = await make.booking()

    assert_problem(await cancel(frontend, booking_id, None), 428, "precondition_required")

    assert (await frontend.get(f"/v1/bookings/{booking_id}")).json()["status"] == "confirmed"


@pytest.mark.parametrize("if_match", ['"2"', '"0"', "1", "*", 'W/"1"', '"1", "2"', '""', "", '"-1"', f'"{2**31}"', "ä"])
async def test_any_if_match_but_the_current_etag_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, if_match: str
) -> None:
    booking_id = await make.booking()

    answer = await frontend.post(
        f"/v1/bookings/{booking_id}/cancel", headers=[(b"if-match", if_match.encode("latin-1"))]
    )

    assert_problem(answer, 412, "version_conflict")
    assert (await frontend.get(f"/v1/bookings/{booking_id}")).json()["status"] == "confirmed"


async def test_a_version_conflict_says_which_version_is_current(frontend: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = await make.booking()
    await cancel(frontend, booking_id)

    assert assert_problem(await cancel(frontend, booking_id), 412, "version_conflict")["current_version"] == 2


@pytest.mark.parametrize("content", [None, b"", b"null", b"{}", b'{"reason": null}', b'{"reason": "rain"}'])
async def test_a_reason_to_cancel_is_optional(
    frontend: httpx2.AsyncClient, make: Factory, content: bytes | None
) -> None:
    answer = await frontend.post(
        f"/v1/bookings/{await make.booking()}/cancel",
        content=content,
        headers={"If-Match": '"1"', "Content-Type": "application/json"},
    )

    assert answer.status_code == 200, answer.text


async def test_a_booking_may_be_sent_as_any_json_media_type(frontend: httpx2.AsyncClient, make: Factory) -> None:
    answer = await frontend.post(
        "/v1/bookings",
        json=booking_body(await make.slot()),
        headers={"Content-Type": "application/vnd.example+json; charset=utf-8"},
    )

    assert answer.status_code == 201
