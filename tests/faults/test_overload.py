"""More than can be served: the rest is told so at once, and health is always told."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import httpx2
import pytest

from app.admission import ALWAYS
from app.main import create_app
from tests.api.calls import assert_problem, book
from tests.concurrency.rivals import begin, held_slots, until_waiting
from tests.conftest import Connect, client_of, settings_for
from tests.factories import Factory, make_api_key

PLACES = 3


@pytest.fixture
async def small(
    dsn: str, conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of an installation with one connection, and room for two who wait for it."""
    monkeypatch.setattr("app.main.PER_CONNECTION", PLACES)
    app = create_app(settings_for(dsn).model_copy(update={"db_pool_size": 1}))
    async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "admin")) as client:
        yield client


async def test_one_too_many_is_refused_before_any_is_served(
    small: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, observer = await make.slot(max_bookings=9), await connect()

    async with held_slots(conn, slot_id):
        served = begin(book(small, slot_id) for _ in range(PLACES))
        await until_waiting(observer, 1)
        # none of the others has an answer yet, and none will while this lasts
        refused = [await book(small, slot_id) for _ in range(20)]
        assert not any(task.done() for task in served)

    for answer in refused:
        assert assert_problem(answer, 503, "busy")["retryable"] is True
        assert int(answer.headers["retry-after"]) >= 1
    assert [(await task).status_code for task in served] == [201] * PLACES
    # every place is free again
    assert [a.status_code for a in await asyncio.gather(*(book(small, slot_id) for _ in range(PLACES)))] == [
        201
    ] * PLACES


async def test_a_refusal_says_the_same_on_either_road(
    dsn: str, make: Factory, conn: asyncpg.Connection, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.main.PER_CONNECTION", 1)
    page = "https://shop.example"
    settings = settings_for(dsn).model_copy(update={"db_pool_size": 1, "cors_origins": [page], "behind_tls": True})
    app, slot_id, observer = create_app(settings), await make.slot(), await connect()

    async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "admin")) as client:
        async with held_slots(conn, slot_id):
            (served,) = begin([book(client, slot_id)])
            await until_waiting(observer, 1)
            quick = await client.get("/v1/bookings")
            named = await client.get("/v1/bookings", headers={"X-Request-ID": "mine-1"})
            asked = await client.get("/v1/bookings", headers={"Origin": page})
        assert (await served).status_code == 201

    bodies = [assert_problem(answer, 503, "busy") for answer in (quick, named, asked)]
    assert bodies[1].pop("request_id") == named.headers["x-request-id"] == "mine-1"
    assert len({body.pop("request_id") for body in (bodies[0], bodies[2])}) == 2
    assert bodies[0] == bodies[1] == bodies[2]
    assert asked.headers["access-control-allow-origin"] == page
    varying = {"x-request-id", "content-length"}
    for answer in (named, asked):
        of_pages = {name for name in answer.headers if name.startswith("access-control-") or name == "vary"}
        alike = {name: value for name, value in answer.headers.items() if name not in varying | of_pages}
        assert alike == {name: value for name, value in quick.headers.items() if name not in varying}


async def test_how_it_is_is_told_however_much_there_is_to_do(
    small: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, observer = await make.slot(max_bookings=9), await connect()

    async with held_slots(conn, slot_id):
        served = begin(book(small, slot_id) for _ in range(PLACES))
        await until_waiting(observer, 1)
        assert (await small.get("/healthz")).status_code == 200
        others = begin(small.get(path) for path in sorted(ALWAYS - {"/healthz"}))
        assert_problem(await small.get("/v1/resources"), 503, "busy")

    assert [(await task).status_code for task in served] == [201] * PLACES
    told = [await other for other in others]
    assert "busy" not in {answer.json()["code"] for answer in told if answer.status_code == 503}


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/bookings", 200), ("/nowhere", 404), ("/v1/bookings/x", 422), ("/v1/events/page", 200)]
)
async def test_whatever_is_answered_its_place_is_free_again(small: httpx2.AsyncClient, path: str, status: int) -> None:
    assert {(await small.get(path)).status_code for _ in range(2 * PLACES)} == {status}


async def test_a_request_that_takes_too_long_is_given_up_and_nothing_of_it_is_done(
    dsn: str, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, observer = await make.slot(), await connect()
    # out of order, which a start would refuse: so that nothing else gives up before
    app = create_app(settings_for(dsn).model_copy(update={"request_timeout_seconds": 0.3}))

    async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "frontend")) as client:
        async with held_slots(conn, slot_id):
            answer = await book(client, slot_id, "key-1")
        assert_problem(answer, 503, "outcome_unknown")
        again = await book(client, slot_id, "key-1")

    assert again.status_code == 201
    assert await observer.fetchval("SELECT count(*) FROM bookings") == 1
