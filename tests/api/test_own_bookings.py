"""What a customer's own token opens: own bookings and nothing else."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.main import create_app
from app.settings import Settings
from tests.api.calls import assert_problem, book, cancel
from tests.conftest import client_of
from tests.factories import Factory
from tests.sql.support import one, status_of
from tests.unit.test_tokens import SECRET, signed


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application with the secret that signs customers' tokens."""
    created = create_app(settings.model_copy(update={"jwt_secret": SecretStr(SECRET)}))
    async with created.router.lifespan_context(created):
        yield created


@pytest.fixture
async def ann(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app, signed(SECRET, sub="ann")) as client:
        yield client


@pytest.fixture
async def bob(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app, signed(SECRET, sub="bob")) as client:
        yield client


async def book_own(
    client: httpx2.AsyncClient, slot_id: object, key: str | None = None, **overrides: Any
) -> httpx2.Response:
    """Book without saying for whom."""
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post("/v1/bookings", json={"slot_id": str(slot_id)} | overrides, headers=headers)


async def reschedule(client: httpx2.AsyncClient, booking_id: object, slot_id: object) -> httpx2.Response:
    return await client.post(
        f"/v1/bookings/{booking_id}/reschedule", json={"slot_id": str(slot_id)}, headers={"If-Match": '"1"'}
    )


@pytest.mark.parametrize("given", [{}, {"customer": None}, {"customer": {"ref": "ann"}}, {"customer": {"name": "Ann"}}])
async def test_a_customer_books_for_nobody_else_whether_or_not_the_request_says_so(
    ann: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, given: dict[str, Any]
) -> None:
    answer = await book_own(ann, await make.slot(), **given)

    assert (answer.status_code, answer.json()["customer_ref"]) == (201, "ann")
    assert await one(conn, "SELECT ref, name FROM customers") == ("ann", (given.get("customer") or {}).get("name"))


@pytest.mark.parametrize("ref", ["bob", "Ann", "ann.", "customer:ann"])
async def test_a_customer_who_names_another_is_forbidden(
    ann: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, ref: str
) -> None:
    assert_problem(await book_own(ann, await make.slot(), customer={"ref": ref}), 403, "forbidden")

    assert await conn.fetchval("SELECT count(*) FROM customers") == 0


async def test_an_api_key_still_has_to_say_who_books(frontend: httpx2.AsyncClient, make: Factory) -> None:
    answer = await book_own(frontend, await make.slot())

    assert assert_problem(answer, 422, "validation")["errors"][0]["field"] == "body.customer"


async def test_the_trail_names_the_customer(ann: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = (await book_own(ann, await make.slot())).json()["id"]
    await reschedule(ann, booking_id, await make.slot())
    await cancel(ann, booking_id, '"2"')

    trail = await conn.fetch(
        """SELECT action_type, performed_by, performed_by_id, ip_address::text FROM audit_log
        WHERE subject_id = $1 ORDER BY id""",
        booking_id,
    )

    assert [entry[0] for entry in trail] == ["created", "rescheduled", "cancelled"]
    assert {tuple(entry)[1:] for entry in trail} == {("customer", "customer:ann", "203.0.113.7/32")}


async def test_a_customer_reads_moves_and_cancels_an_own_booking_that_a_frontend_made(
    ann: httpx2.AsyncClient, make: Factory
) -> None:
    booking_id, elsewhere = await make.booking(), await make.slot()

    assert (await ann.get(f"/v1/bookings/{booking_id}")).json()["id"] == str(booking_id)
    assert (await reschedule(ann, booking_id, elsewhere)).json()["slot_id"] == str(elsewhere)
    assert (await cancel(ann, booking_id, '"2"')).json()["status"] == "cancelled"


async def test_to_a_customer_anothers_booking_looks_like_none(
    ann: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    elsewhere = await make.slot()
    named, nameless = [await make.booking(p_customer=json.dumps(c)) for c in ({"ref": "bob"}, {"name": "ann"})]

    for booking_id in (named, nameless, uuid4()):
        for answer in (
            await ann.get(f"/v1/bookings/{booking_id}"),
            await cancel(ann, booking_id),
            await cancel(ann, booking_id, '"7"'),
            await reschedule(ann, booking_id, elsewhere),
        ):
            problem = assert_problem(answer, 404, "booking_not_found")
            assert problem.keys() - {"request_id"} == {
                "booking_id",
                "type",
                "title",
                "status",
                "detail",
                "code",
                "retryable",
            }

    assert [await status_of(conn, booking_id) for booking_id in (named, nameless)] == ["confirmed", "confirmed"]
    assert await conn.fetchval("SELECT max(version) FROM bookings") == 1


async def listed(client: httpx2.AsyncClient, **query: str) -> list[str]:
    answer = await client.get("/v1/bookings", params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_a_customers_list_holds_own_bookings_whatever_the_filter_says(
    ann: httpx2.AsyncClient, frontend: httpx2.AsyncClient, make: Factory
) -> None:
    own = str(await make.booking())
    others = str(await make.booking(p_customer='{"ref": "bob"}'))

    assert await listed(ann) == [own]
    assert await listed(ann, customer_ref="bob") == [own]
    assert await listed(ann, status="cancelled", customer_ref="bob") == []
    assert await listed(frontend) == [own, others]
    assert await listed(frontend, customer_ref="bob") == [others]


async def test_a_cursor_of_a_longer_list_shows_a_customer_nobody_elses(
    ann: httpx2.AsyncClient, frontend: httpx2.AsyncClient, make: Factory
) -> None:
    own = [str(await make.booking(p_customer=json.dumps({"ref": ref}))) for ref in ("ann", "bob", "ann", "bob")][2]

    first = (await frontend.get("/v1/bookings", params={"limit": 1})).json()

    assert await listed(ann, cursor=first["next_cursor"]) == [own]


async def test_metadata_finds_the_bookings_that_contain_it_and_a_customer_only_own_ones(
    ann: httpx2.AsyncClient, frontend: httpx2.AsyncClient, make: Factory
) -> None:
    own, others = [
        str(await make.booking(p_customer=json.dumps({"ref": ref}), p_metadata='{"team": "red", "seats": [4, 5]}'))
        for ref in ("ann", "bob")
    ]
    await make.booking(p_metadata='{"team": "blue"}')

    assert await listed(frontend, metadata='{"team": "red"}') == [own, others]
    assert await listed(frontend, metadata='{"seats": [5], "team": "red"}') == [own, others]
    assert await listed(frontend, metadata='{"team": "red"}', customer_ref="bob") == [others]
    assert await listed(frontend, metadata='{"team": "green"}') == []
    assert await listed(ann, metadata='{"team": "red"}') == [own]


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "red",
        "{",
        '{"team": }',
        '["team"]',
        '"team"',
        "7",
        "null",
        '{"a": NaN}',
        '{"a": "\\u0000"}',
        "{'a': 1}",
        '{"a":' * 40 + "1" + "}" * 40,
        '{"\\ud800": 1}',
    ],
)
async def test_metadata_that_is_no_json_object_is_refused(frontend: httpx2.AsyncClient, metadata: str) -> None:
    assert_problem(await frontend.get("/v1/bookings", params={"metadata": metadata}), 422, "validation")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/bookings/{}/history"),
        ("POST", "/v1/bookings/{}/payment"),
        ("POST", "/v1/bookings/{}/confirm"),
        ("POST", "/v1/bookings/{}/no-show"),
        ("POST", "/v1/resources"),
        ("PATCH", "/v1/resources/{}"),
        ("POST", "/v1/resources/{}/slots"),
        ("PUT", "/v1/resources/{}/schedule"),
        ("POST", "/cron/process-jobs"),
    ],
)
async def test_what_is_a_frontends_or_an_admins_is_closed_to_a_customer(
    ann: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, method: str, path: str
) -> None:
    booking_id = await make.booking(p_payment_method="pay_now")

    answer = await ann.request(method, path.format(booking_id), json={}, headers={"If-Match": '"1"'})

    assert_problem(answer, 401, "unauthorized")
    assert await status_of(conn, booking_id) == "pending"


async def test_the_keys_of_two_customers_do_not_meet(
    ann: httpx2.AsyncClient, bob: httpx2.AsyncClient, make: Factory
) -> None:
    slot_id = await make.slot(max_bookings=9)

    first, others = [await book_own(client, slot_id, "key-1") for client in (ann, bob)]
    again = await book_own(ann, slot_id, "key-1")

    assert [a.json()["customer_ref"] for a in (first, others, again)] == ["ann", "bob", "ann"]
    assert others.headers.get("idempotent-replayed") is None
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")


async def test_a_customers_key_and_a_frontends_do_not_meet(
    ann: httpx2.AsyncClient, frontend: httpx2.AsyncClient, make: Factory
) -> None:
    slot_id = await make.slot(max_bookings=9)

    own = await book_own(ann, slot_id, "key-1", customer={"ref": "ann"})
    theirs = await book(frontend, slot_id, "key-1")

    assert (own.status_code, theirs.status_code) == (201, 201)
    assert own.json()["id"] != theirs.json()["id"]
