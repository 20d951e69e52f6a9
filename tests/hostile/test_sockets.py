"""What no client library sends: doubled headers, and bodies that lie about their length, stop half way or stay out."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import httpx2
import pytest

from app import deadlines
from app.main import create_app
from tests.api.calls import assert_problem, booking_body
from tests.concurrency.rivals import until_idle
from tests.conftest import Connect, client_of, settings_for
from tests.factories import Factory, make_api_key
from tests.hostile.raw import post, send_raw
from tests.live import LiveServer, live_server

JSON = "Content-Type: application/json"
# the server's own parser refuses some before the application sees them
MAY_BE_ANSWERED = {0, 400, 401, 404, 405, 413, 422, 431}


@pytest.fixture
async def live(dsn: str) -> AsyncIterator[LiveServer]:
    async with live_server(dsn) as server:
        yield server


def oddities(token: str, body: bytes) -> dict[str, tuple[bytes, ...]]:
    """Requests by what is odd about them; none may book."""
    bearer = f"Authorization: Bearer {token}"
    cut = post("/v1/bookings", body[:-1], bearer, JSON)
    return {
        "two tokens, the first wrong": (post("/v1/bookings", body, "Authorization: Bearer hf_x", bearer, JSON),),
        "two lengths": (post("/v1/bookings", body, bearer, JSON, f"Content-Length: {len(body) - 1}"),),
        "a length and chunks": (post("/v1/bookings", body, bearer, JSON, "Transfer-Encoding: chunked"),),
        "a negative length": (post("/v1/bookings", body, bearer, JSON, length=-1),),
        "a length of 400 digits": (post("/v1/bookings", body, bearer, JSON, length=10**400),),
        "a body that is cut off": (cut,),
        "two types, the first wrong": (post("/v1/bookings", body, bearer, "Content-Type: text/plain", JSON),),
        "two keys, both wrong": (
            post("/v1/bookings", body, bearer, JSON, "Idempotency-Key: \x01", "Idempotency-Key: "),
        ),
        "a NUL in a header": (post("/v1/bookings", body, bearer, JSON, "Idempotency-Key: a\0b"),),
        "a header without a colon": (post("/v1/bookings", body, bearer, JSON, "nonsense"),),
        "no address": (b"POST  HTTP/1.1\r\nHost: here\r\n\r\n",),
        "an address outside ASCII": ("GET /v1/bookings/é\0 HTTP/1.1\r\nHost: here\r\n\r\n".encode(),),
        "another protocol": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,),
        "an unknown method": (b"BREW /v1/bookings HTTP/1.1\r\nHost: here\r\n\r\n",),
        "a head without an end": (b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"x" * 70_000 + b"\r\n",),
        "ten thousand headers": (b"GET /v1/bookings HTTP/1.1\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",),
    }


async def test_a_request_that_breaks_the_rules_of_http_books_nothing_and_breaks_nothing(
    live: LiveServer, make: Factory, conn: asyncpg.Connection
) -> None:
    token, port = await make_api_key(conn, "frontend"), int(live.url.rpartition(":")[2])
    body = json.dumps(booking_body(await make.slot(max_bookings=100))).encode()

    answers = {name: await send_raw(port, *pieces, half_close=True) for name, pieces in oddities(token, body).items()}

    assert {name: a for name, a in answers.items() if a.status not in MAY_BE_ANSWERED | {201}} == {}
    assert {name for name, a in answers.items() if a.status == 201} <= {"two types, the first wrong"}
    async with live.client() as client:
        assert (await client.get("/readyz")).is_success
    assert "Traceback" not in live.log


async def test_callers_who_stop_half_way_leave_neither_a_session_nor_a_booking(
    live: LiveServer, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    token, port = await make_api_key(conn, "frontend"), int(live.url.rpartition(":")[2])
    body = json.dumps(booking_body(await make.slot(max_bookings=100))).encode()
    whole = post("/v1/bookings", body, f"Authorization: Bearer {token}", JSON)

    for cut in range(1, len(whole), 7):
        await send_raw(port, whole[:cut], half_close=True)

    await until_idle(await connect())
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 0
    async with live.client(token) as client:
        assert (
            await client.post("/v1/bookings", content=body, headers={"Content-Type": "application/json"})
        ).is_success


async def test_a_body_that_does_not_come_is_given_up_and_takes_nobodys_place(
    dsn: str, make: Factory, conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "BODY", 0.2)
    monkeypatch.setattr("app.main.PER_CONNECTION", 1)
    app = create_app(settings_for(dsn).model_copy(update={"db_pool_size": 1}))
    slot_id, never = await make.slot(max_bookings=100), asyncio.Event()

    async def drip() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "frontend")) as client:
        slow = [asyncio.ensure_future(client.post("/v1/bookings", content=drip())) for _ in range(10)]
        await asyncio.sleep(0)
        served = await client.post("/v1/bookings", json=booking_body(slot_id))
        refused: list[httpx2.Response] = await asyncio.gather(*slow)

    assert served.status_code == 201
    for answer in refused:
        assert assert_problem(answer, 408, "request_timeout")["retryable"] is True
