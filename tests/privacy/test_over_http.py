"""/v1/customers: found, exported, erased and held."""

import json

import asyncpg
import httpx2
import pytest

from tests.api.calls import assert_problem, cancel
from tests.factories import Factory

ERASE = "/v1/customers/ann/erase"
HOLD = "/v1/customers/ann/legal-hold"
WHY = {"reason": "asked for it"}


async def test_an_erasure_is_repeated_under_its_key_and_not_without(
    admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    await cancel(admin, await make.booking())
    key = {"Idempotency-Key": "k"}

    first = await admin.post(ERASE, json=WHY, headers=key)
    again = await admin.post(ERASE, json=WHY, headers=key)

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.json()["customer_id"] == str(await conn.fetchval("SELECT id FROM customers"))
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert_problem(await admin.post(ERASE, json=WHY), 404, "customer_not_found")


async def test_a_legal_hold_and_what_is_to_come_stand_in_the_way(admin: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = await make.booking()
    assert assert_problem(await admin.post(ERASE, json=WHY), 409, "customer_active")["bookings"] == 1
    await cancel(admin, booking_id)
    hold = (await admin.put(HOLD, json={"reason": "case 7"})).json()
    assert (hold["customer_ref"], hold["reason"]) == ("ann", "case 7")
    assert assert_problem(await admin.post(ERASE, json=WHY), 409, "legal_hold")["since"] == hold["since"]

    assert (await admin.delete(HOLD)).status_code == 204

    assert (await admin.post(ERASE, json=WHY)).status_code == 200


async def test_an_erasure_needs_a_reason(admin: httpx2.AsyncClient, make: Factory) -> None:
    await cancel(admin, await make.booking())

    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": None}):
        assert_problem(await admin.post(ERASE, json=body), 422, "validation")

    assert (await admin.post("/v1/customers/ann/export")).status_code == 200


async def test_an_export_is_one_document(admin: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = str(await make.booking(p_customer='{"ref": "ann", "email": "ann@example.com"}'))

    document = (await admin.post("/v1/customers/ann/export")).json()

    assert document["customer"]["email"] == "ann@example.com"
    assert [booking["id"] for booking in document["bookings"]] == [booking_id]
    assert {entry["event"] for entry in document["audit_entries"]} == {"customer.created", "booking.created"}


async def test_the_history_of_an_erased_customers_booking_is_read_as_before(
    admin: httpx2.AsyncClient, make: Factory
) -> None:
    booking_id = await make.booking(p_metadata='{"note": "Ann"}')
    await cancel(admin, booking_id)
    await admin.post(ERASE, json=WHY)

    history = await admin.get(f"/v1/bookings/{booking_id}/history")

    events = [entry["event"] for entry in history.json()["items"]]
    assert events == ["booking.created", "booking.cancelled", "booking.modified"]
    assert "Ann" not in history.text
    booking = (await admin.get(f"/v1/bookings/{booking_id}")).json()
    assert (booking["customer_ref"], booking["metadata"]) == (None, {})


async def found(admin: httpx2.AsyncClient, **known: str | int) -> list[str]:
    """The names on a page."""
    answer = await admin.get("/v1/customers", params=known)
    assert answer.status_code == 200, answer.text
    return [customer["name"] for customer in answer.json()["items"]]


async def test_customers_are_found_by_ref_address_and_number_and_listed_in_pages(
    admin: httpx2.AsyncClient, make: Factory
) -> None:
    people = {
        "Ann": {"ref": "ann", "email": "ann@example.com", "phone": "+302101234567"},
        "Bob": {"email": "Ann@Example.com"},
        "Cid": {"phone": "+302107654321"},
    }
    for name, known in people.items():
        await make.booking(p_customer=json.dumps(known | {"name": name}))

    assert await found(admin) == ["Cid", "Bob", "Ann"]
    assert await found(admin, ref="ann") == ["Ann"]
    assert await found(admin, email=" ANN@example.com") == ["Bob", "Ann"]
    assert await found(admin, phone="+302107654321") == ["Cid"]
    page = (await admin.get("/v1/customers", params={"limit": 2})).json()
    assert await found(admin, cursor=page["next_cursor"]) == ["Ann"]


@pytest.mark.parametrize("query", ["cursor=zz", "limit=0", "limit=201", "ref=", "email=%00", "name=Ann"])
async def test_a_search_that_makes_no_sense_is_refused(admin: httpx2.AsyncClient, query: str) -> None:
    assert_problem(await admin.get(f"/v1/customers?{query}"), 422, "validation")


async def test_a_guest_is_held_exported_and_erased_by_id(admin: httpx2.AsyncClient, make: Factory) -> None:
    await cancel(admin, await make.booking(p_customer='{"name": "Ann"}'))
    (guest,) = (await admin.get("/v1/customers")).json()["items"]
    path = f"/v1/customers/id:{guest['id']}"

    hold = await admin.put(f"{path}/legal-hold", json={"reason": "case 7"})

    assert hold.json().keys() == {"customer_id", "customer_ref", "since", "reason"}
    assert (hold.json()["customer_id"], hold.json()["customer_ref"]) == (guest["id"], None)
    assert_problem(await admin.post(f"{path}/erase", json=WHY), 409, "legal_hold")
    assert (await admin.delete(f"{path}/legal-hold")).status_code == 204
    assert (await admin.post(f"{path}/export")).json()["customer"]["name"] == "Ann"
    assert (await admin.post(f"{path}/erase", json=WHY)).json()["customer_id"] == guest["id"]
    assert_problem(await admin.post(f"{path}/export"), 404, "customer_not_found")
    assert (await admin.get("/v1/customers")).json()["items"] == []
