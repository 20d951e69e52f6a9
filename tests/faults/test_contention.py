"""Too much at once: refused in bounded time as `busy`, nothing half done, nothing left behind."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from app import deadlines
from app.main import create_app
from tests.api.calls import assert_problem, book
from tests.concurrency.rivals import OURS, assert_counters_equal_a_recount, begin, held_slots, until, until_waiting
from tests.conftest import Connect, client_of, settings_for
from tests.factories import Factory, make_api_key


@pytest.fixture
async def narrow(
    dsn: str, conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of an installation with a single connection and little patience."""
    monkeypatch.setattr(deadlines, "CONNECTION", 0.2)
    app = create_app(settings_for(dsn).model_copy(update={"db_pool_size": 1}))
    async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "frontend")) as client:
        yield client


async def test_without_a_free_connection_the_answer_is_busy_in_bounded_time(
    narrow: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, observer = await make.slot(max_bookings=5), await connect()

    async with held_slots(conn, slot_id):
        (first,) = begin([book(narrow, slot_id)])
        await until_waiting(observer, 1)
        began = time.monotonic()
        refused = await asyncio.gather(*(book(narrow, slot_id) for _ in range(20)), narrow.get("/readyz"))
        assert time.monotonic() - began < 5

    for answer in refused:
        assert assert_problem(answer, 503, "busy")["retryable"] is True
        assert int(answer.headers["retry-after"]) >= 1
    assert (await first).status_code == 201
    assert (await book(narrow, slot_id)).status_code == 201
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 2


async def test_a_row_that_somebody_holds_too_long_makes_busy_and_nothing_half_done(
    dsn: str, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot()
    app = create_app(settings_for(dsn).model_copy(update={"lock_timeout_seconds": 0.2}))
    async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "frontend")) as client:
        async with held_slots(conn, slot_id):
            answer = await book(client, slot_id, "key-1", customer={"ref": "newcomer"})

        assert assert_problem(answer, 503, "busy")["retryable"] is True
        assert int(answer.headers["retry-after"]) >= 1
        for table in ("bookings", "customers", "idempotency_keys", "jobs"):
            assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0
        again = await book(client, slot_id, "key-1", customer={"ref": "newcomer"})

    assert (again.status_code, again.headers.get("idempotent-replayed")) == (201, None)


async def test_five_hundred_requests_cancelled_anywhere_leave_the_pool_whole(
    app: FastAPI, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, observer = await make.slot(max_bookings=1_000_000), await connect()
    chance = random.Random(1)  # noqa: S311 - a repeatable choice

    async with client_of(app, await make_api_key(conn, "frontend")) as client:
        for _ in range(10):
            tasks = begin(book(client, slot_id) for _ in range(50))
            for task in chance.sample(tasks, len(tasks)):
                for _ in range(chance.randrange(20)):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        await until(observer, f"({OURS} AND state <> 'idle') = 0")
        # every connection of the pool can be had at once
        async with held_slots(conn, slot_id):
            tasks = begin(book(client, slot_id) for _ in range(10))
            await until_waiting(observer, 10)
            assert await observer.fetchval(OURS) == 10
        assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [201] * 10
    await assert_counters_equal_a_recount(conn)
