"""/v1/payment-events over HTTP: a signed webhook is taken once, anything else is not, and admins read what came."""

import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import redirect_stderr
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.body_limit import MAX_BODY_SIZE
from app.main import create_app
from app.settings import Settings
from tests.api.calls import assert_problem
from tests.conftest import client_of
from tests.contracts.test_responses import assert_declared
from tests.factories import HOUR, TOMORROW, Factory
from tests.sql.support import one
from tests.unit.test_stripe import SECRET, signature

PATH = "/v1/payment-events/stripe"
LIST = "/v1/payment-events"
# as Stripe sends it
JSON = "application/json; charset=utf-8"


def about(booking_id: UUID | str | None, event_id: str = "evt_1", /, **members: Any) -> dict[str, Any]:
    """A checkout of that booking that was paid; members of its object replace those."""
    held = {"payment_status": "paid", "metadata": {"booking_id": str(booking_id)}} | members
    return {
        "id": event_id,
        "object": "event",
        "api_version": "2025-09-30.clover",
        "type": "checkout.session.completed",
        "livemode": False,
        "data": {"object": {"id": "cs_1", "object": "checkout.session", "amount_total": 2500} | held},
    }


def header(body: bytes, secret: str = SECRET, *, age: int = 0) -> str:
    """The Stripe-Signature of that body."""
    timestamp = int(time.time()) - age
    return f"t={timestamp},v1={signature(body, secret, timestamp)}"


async def post(client: httpx2.AsyncClient, body: bytes, signed: str | bytes | None) -> httpx2.Response:
    """The webhook with that Stripe-Signature, or without one."""
    given = signed.encode() if isinstance(signed, str) else signed
    headers = [(b"content-type", JSON.encode()), *([(b"stripe-signature", given)] if given is not None else [])]
    return await client.post(PATH, content=body, headers=headers)


async def send(client: httpx2.AsyncClient, event: object) -> httpx2.Response:
    """The webhook as Stripe sends it."""
    body = json.dumps(event, indent=2).encode()
    return await post(client, body, header(body))


async def state(conn: asyncpg.Connection) -> tuple[Any, ...]:
    return await one(conn, "SELECT status, payment_status, version FROM bookings")


async def nothing_came(conn: asyncpg.Connection) -> bool:
    return bool(await conn.fetchval("SELECT NOT EXISTS (SELECT FROM payment_events)"))


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[FastAPI]:
    """An installation that knows Stripe's secret."""
    app = create_app(settings.model_copy(update={"stripe_webhook_secret": SecretStr(SECRET)}))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def stripe(shop: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Stripe, which has no key of ours."""
    async with client_of(shop) as client:
        yield client


@pytest.fixture
async def held(make: Factory) -> UUID:
    """A hold."""
    return await make.booking(p_payment_method="pay_now")


async def test_a_signed_webhook_confirms_the_hold_and_says_so(
    stripe: httpx2.AsyncClient, held: UUID, conn: asyncpg.Connection
) -> None:
    answer = await send(stripe, about(held))

    assert answer.status_code == 200
    assert_declared(answer, PATH)
    assert answer.headers["cache-control"] == "no-store"
    event = answer.json()
    assert (event["id"], event["event_type"]) == ("evt_1", "checkout.session.completed")
    assert (event["booking_id"], event["payment_status"]) == (str(held), "paid")
    assert (event["outcome"], event["action"]) == ("recorded", None)
    assert await state(conn) == ("confirmed", "paid", 2)


async def test_a_webhook_sent_again_is_answered_as_before(
    stripe: httpx2.AsyncClient, held: UUID, conn: asyncpg.Connection
) -> None:
    first = await send(stripe, about(held))
    again = await send(stripe, about(held))

    assert (again.status_code, again.content) == (200, first.content)
    assert await state(conn) == ("confirmed", "paid", 2)
    assert await conn.fetchval("SELECT count(*) FROM payment_events") == 1


async def test_the_history_says_that_stripe_did_it(
    stripe: httpx2.AsyncClient, admin: httpx2.AsyncClient, held: UUID
) -> None:
    answer = await send(stripe, about(held))

    entry = (await admin.get(f"/v1/bookings/{held}/history")).json()["items"][-1]
    assert (entry["event"], entry["performed_by"], entry["performed_by_id"]) == (
        "booking.confirmed",
        "system",
        "stripe",
    )
    assert (entry["ip_address"], entry["request_id"]) == ("203.0.113.7", answer.headers["x-request-id"])


async def test_money_for_a_taken_place_is_taken_and_listed_for_a_refund(
    stripe: httpx2.AsyncClient, admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot()
    held = await make.booking(slot_id, p_payment_method="pay_now", p_now=TOMORROW - 48 * HOUR)
    await make.booking(slot_id, p_customer='{"ref": "ben"}')

    answer = await send(stripe, about(held))

    assert (answer.status_code, answer.json()["outcome"], answer.json()["action"]) == (200, "hold_expired", "refund")
    listed = await admin.get(LIST, params={"outcome": "hold_expired"})
    assert listed.json() == {"items": [answer.json()], "next_cursor": None}
    assert_declared(listed, LIST)
    assert await conn.fetchval("SELECT status FROM bookings WHERE id = $1", held) == "expired"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "payment_intent.payment_failed"},
        {"type": "customer.created"},
        {"type": "of.later"},
        {"type": "checkout.session.completed", "data": {"object": {"payment_status": "unpaid", "metadata": {}}}},
        {"type": "charge.refunded", "data": {"object": {"refunded": False}}},
    ],
)
async def test_an_event_that_decides_nothing_is_taken_and_ignored(
    stripe: httpx2.AsyncClient, held: UUID, conn: asyncpg.Connection, event: dict[str, Any]
) -> None:
    answer = await send(stripe, about(held) | event)

    assert (answer.status_code, answer.json()["outcome"]) == (200, "ignored")
    assert_declared(answer, PATH)
    assert await state(conn) == ("pending", "pending", 1)


@pytest.mark.parametrize("booking_id", ["order 7", str(UUID(int=7)), None])
async def test_money_for_nobodys_booking_is_taken_to_be_looked_for(
    stripe: httpx2.AsyncClient, booking_id: str | None
) -> None:
    answer = await send(stripe, about(booking_id))

    assert (answer.json()["outcome"], answer.json()["action"]) == ("booking_not_found", "find_booking")
    assert_declared(answer, PATH)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"booking_id": None},
        {"booking_id": {"deep": [[]]}},
        {"booking_id": 1e308},
        {"booking_id": "\ud800\x00"},
        {"k" * 40: "v" * 500, "\x00": "\ud800"},
        {f"key {n}": "v" * 500 for n in range(300)},
        None,
    ],
    ids=["empty", "null booking", "nested", "number", "surrogate", "long", "huge", "null"],
)
async def test_metadata_of_any_kind_is_taken(
    stripe: httpx2.AsyncClient, held: UUID, conn: asyncpg.Connection, metadata: object
) -> None:
    answer = await send(stripe, about(None, metadata=metadata, client_reference_id=str(held)))

    assert (answer.status_code, answer.json()["outcome"]) == (200, "recorded")
    assert await state(conn) == ("confirmed", "paid", 2)


async def test_signatures_of_two_secrets_are_good_while_one_is_rolled(
    stripe: httpx2.AsyncClient, held: UUID, conn: asyncpg.Connection
) -> None:
    body = json.dumps(about(held)).encode()
    old = header(body, "whsec_the-one-before-this").partition(",")[2]

    answer = await post(stripe, body, f"{header(body)},{old},v0={signature(body, 'whsec_of-test-mode')}")

    assert answer.status_code == 200
    assert await state(conn) == ("confirmed", "paid", 2)


BODY = json.dumps(about(uuid4())).encode()
UNSIGNED: dict[str, Any] = {
    "none": lambda: None,
    "empty": lambda: "",
    "garbage": lambda: "Bearer hf_x",
    "old": lambda: header(BODY, age=400),
    "of the future": lambda: header(BODY, age=-400),
    "of another secret": lambda: header(BODY, "whsec_not-the-one-we-know"),
    "of another body": lambda: header(BODY + b" "),
    "v0 alone": lambda: header(BODY).replace("v1=", "v0="),
    "without a time": lambda: header(BODY).partition(",")[2],
    "two times": lambda: f"t=1,{header(BODY)}",
    "a time of many digits": lambda: f"t={'9' * 500},v1=x",
    "a time of very many digits": lambda: f"t={'9' * 5000},v1=x",
    "a time that is no number": lambda: f"t=\u0661,v1={signature(BODY)}",
    "bytes that are no text": lambda: f"t={int(time.time())},v1=".encode() + b"\xff\xfe\xe9",
    "bytes for a name": lambda: b"\xff=\xfe,,==",
}


@pytest.mark.parametrize("signed", UNSIGNED)
async def test_a_webhook_without_a_good_signature_is_unauthorized_and_leaves_nothing(
    stripe: httpx2.AsyncClient, conn: asyncpg.Connection, signed: str
) -> None:
    answer = await post(stripe, BODY, UNSIGNED[signed]())

    assert_problem(answer, 401, "unauthorized")
    assert await nothing_came(conn)


async def test_a_second_signature_header_does_not_help(stripe: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    headers = [("Content-Type", JSON), ("Stripe-Signature", "t=1,v1=x"), ("Stripe-Signature", header(BODY))]

    answer = await stripe.post(PATH, content=BODY, headers=headers)

    assert_problem(answer, 401, "unauthorized")
    assert await nothing_came(conn)


async def test_no_key_of_ours_stands_in_for_the_signature(
    shop: FastAPI,
    admin: httpx2.AsyncClient,
    frontend: httpx2.AsyncClient,
    cron: httpx2.AsyncClient,
    conn: asyncpg.Connection,
) -> None:
    for caller in (admin, frontend, cron):
        headers = {"Authorization": caller.headers["authorization"], "Content-Type": JSON}
        async with client_of(shop) as client:
            answer = await client.post(PATH, content=BODY, headers=headers)
        assert_problem(answer, 401, "unauthorized")
    assert await nothing_came(conn)


async def test_without_the_secret_no_webhook_is_taken(public: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    for secret in (SECRET, "", "None"):
        assert_problem(await post(public, BODY, header(BODY, secret)), 503, "not_configured")
    assert await nothing_came(conn)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "validation"),
        (b"{}", 422, "validation"),
        (b"[]", 422, "validation"),
        (b"null", 422, "validation"),
        (b"{", 422, "validation"),
        (b'{"id": "evt_1", "type": "t", "data": {"object": []}}', 422, "validation"),
        (b'{"id": "evt 1", "type": "t", "data": {"object": {}}}', 422, "validation"),
        (b'{"id": "evt_\\u0000", "type": "t", "data": {"object": {}}}', 422, "validation"),
        (b'{"\xff": 1}', 400, "bad_request"),
        (b"[" * 100_000, 400, "bad_request"),
        (b'{"x": ' + b"9" * 5000 + b"}", 400, "bad_request"),
        (b" " * (MAX_BODY_SIZE + 1), 413, "too_large"),
    ],
    ids=lambda given: (given[:20] or b"empty").decode("latin-1") if isinstance(given, bytes) else "",
)
async def test_a_signed_body_that_is_no_event_is_refused_and_leaves_nothing(
    stripe: httpx2.AsyncClient, conn: asyncpg.Connection, body: bytes, status: int, code: str
) -> None:
    answer = await post(stripe, body, header(body))

    assert_problem(answer, status, code)
    assert_declared(answer, PATH, extra=True)
    assert await nothing_came(conn)


async def test_the_secret_is_neither_answered_nor_logged(
    settings: Settings, held: UUID, conn: asyncpg.Connection
) -> None:
    with redirect_stderr(io.StringIO()) as log:
        changes = {"stripe_webhook_secret": SecretStr(SECRET), "log_level": "debug"}
        app = create_app(settings.model_copy(update=changes))
        async with app.router.lifespan_context(app), client_of(app) as client:
            answers = [await send(client, about(held)), await post(client, BODY, f"t=1,v1={SECRET}")]
            answers.append(await post(client, b"{}", header(b"{}")))
            await conn.execute("DROP FUNCTION record_payment_event")
            answers.append(await send(client, about(held, client_reference_id="a private word")))

    assert [answer.status_code for answer in answers] == [200, 401, 422, 500]
    said = log.getvalue() + "".join(f"{answer.headers} {answer.text}" for answer in answers) + repr(app.state.settings)
    assert "unexpected error" in said
    assert SECRET not in said
    assert "a private word" not in said


async def test_admins_alone_read_what_came(
    admin: httpx2.AsyncClient,
    frontend: httpx2.AsyncClient,
    cron: httpx2.AsyncClient,
    public: httpx2.AsyncClient,
) -> None:
    assert (await admin.get(LIST)).json() == {"items": [], "next_cursor": None}
    assert_problem(await frontend.get(LIST), 403, "forbidden")
    assert_problem(await cron.get(LIST), 401, "unauthorized")
    assert_problem(await public.get(LIST), 401, "unauthorized")


async def test_pages_follow_each_other_within_an_outcome(
    stripe: httpx2.AsyncClient, admin: httpx2.AsyncClient, held: UUID
) -> None:
    for n in range(3):
        await send(stripe, about(None, f"evt_{n}"))
    await send(stripe, about(held, "evt_1b"))

    query = {"outcome": "booking_not_found", "limit": "2"}
    first = await admin.get(LIST, params=query)
    assert_declared(first, LIST)
    second = (await admin.get(LIST, params=query | {"cursor": first.json()["next_cursor"]})).json()

    assert [item["id"] for item in first.json()["items"] + second["items"]] == ["evt_0", "evt_1", "evt_2"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    "query",
    [{"outcome": "lost"}, {"outcome": ""}, {"limit": "0"}, {"limit": "201"}, {"cursor": "zz"}, {"cursor": "00"}],
)
async def test_a_list_that_cannot_be_is_refused(admin: httpx2.AsyncClient, query: dict[str, str]) -> None:
    assert_problem(await admin.get(LIST, params=query), 422, "validation")
