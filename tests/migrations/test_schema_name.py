"""DB_SCHEMA: an installation lives in one schema of any name, and leaves the rest of the database alone."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import httpx2

from app.main import create_app
from app.migrate import migrate
from app.settings import Settings
from migrations import sqltree
from tests.conftest import client_of, settings_for
from tests.factories import HOUR, TOMORROW, make_api_key
from tests.migrations.support import connected, contents_at, definitions

SLOT = {"starts_at": TOMORROW.isoformat(), "ends_at": (TOMORROW + HOUR).isoformat(), "max_bookings": 1}


def in_schema(dsn: str, schema: str) -> Settings:
    return settings_for(dsn).model_copy(update={"db_schema": schema})


@asynccontextmanager
async def serving(dsn: str, schema: str) -> AsyncIterator[httpx2.AsyncClient]:
    """An admin of an installation in that schema."""
    async with connected(dsn, schema) as conn:
        key = await make_api_key(conn, "admin")
    app = create_app(in_schema(dsn, schema))
    async with app.router.lifespan_context(app), client_of(app, key) as client:
        yield client


async def book(client: httpx2.AsyncClient) -> httpx2.Response:
    """The way of a booking, from nothing."""
    resource = (await client.post("/v1/resources", json={"name": "Pitch", "timezone": "UTC"})).json()
    answer = await client.post(f"/v1/resources/{resource['id']}/slots", json={"slots": [SLOT]})
    (slot,) = answer.json()["slots"]
    headers = {"Idempotency-Key": uuid4().hex}
    return await client.post("/v1/bookings", json={"slot_id": slot["id"], "customer": {"ref": "ann"}}, headers=headers)


async def test_everything_goes_into_that_schema_and_nothing_into_another(empty_dsn: str) -> None:
    await asyncio.to_thread(migrate, in_schema(empty_dsn, "tenant_b"))

    assert await contents_at(empty_dsn, "public") == set()
    async with connected(empty_dsn, "tenant_b") as conn:
        schemas = await conn.fetch("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'")
        texts = await definitions(conn, "tenant_b")

    assert {row["nspname"] for row in schemas} == {"public", "tenant_b"}
    assert set(texts) == set(sqltree.current())
    assert [
        name
        for name, text in texts.items()
        if "holdfast." in re.sub(r"holdfast\.(actor|erasure|growth_is_taken)\b", "", text)
    ] == []


async def test_the_app_works_there(empty_dsn: str) -> None:
    await asyncio.to_thread(migrate, in_schema(empty_dsn, "tenant_b"))

    async with serving(empty_dsn, "tenant_b") as client:
        booking = await book(client)
        etag = booking.headers["etag"]
        cancelled = await client.post(f"{booking.headers['location']}/cancel", headers={"If-Match": etag})
        history = (await client.get(f"{booking.headers['location']}/history")).json()["items"]
        ready = await client.get("/readyz")

    assert (booking.status_code, cancelled.status_code, ready.status_code) == (201, 200, 200)
    assert [entry["event"] for entry in history] == ["booking.created", "booking.cancelled"]


async def test_two_installations_in_one_database_do_not_see_each_other(dsn: str, conn: asyncpg.Connection) -> None:
    await asyncio.to_thread(migrate, in_schema(dsn, "tenant_b"))

    async with serving(dsn, "tenant_b") as client:
        assert (await book(client)).status_code == 201

    count = "SELECT (SELECT count(*) FROM {0}.bookings), (SELECT count(*) FROM {0}.jobs)"
    assert tuple(await conn.fetchrow(count.format("tenant_b")) or ()) == (1, 1)
    assert tuple(await conn.fetchrow(count.format("holdfast")) or ()) == (0, 0)
