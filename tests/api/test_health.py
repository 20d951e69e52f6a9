"""/healthz says that the process lives, /readyz that it can serve."""

import asyncpg
import httpx2

from app.main import create_app
from app.migrate import head_revision
from tests.api.calls import assert_problem
from tests.conftest import client_of, settings_for
from tests.databases import on_server


async def test_a_migrated_database_is_ready(public: httpx2.AsyncClient) -> None:
    answer = await public.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "revision": head_revision()})


async def test_an_unmigrated_database_is_not_ready_and_alive(empty_dsn: str) -> None:
    app = create_app(settings_for(empty_dsn))
    async with app.router.lifespan_context(app), client_of(app) as client:
        problem = assert_problem(await client.get("/readyz"), 503, "not_configured")
        alive = await client.get("/healthz")

    assert "holdfast migrate" in problem["detail"]
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})


async def test_an_older_schema_is_not_ready(conn: asyncpg.Connection, public: httpx2.AsyncClient) -> None:
    await conn.execute("UPDATE alembic_version SET version_num = '0001'")

    assert_problem(await public.get("/readyz"), 503, "not_configured")


async def test_a_newer_schema_is_ready_so_that_a_rollout_may_migrate_first(
    conn: asyncpg.Connection, public: httpx2.AsyncClient
) -> None:
    await conn.execute("UPDATE alembic_version SET version_num = '9999'")

    assert (await public.get("/readyz")).status_code == 200


async def test_without_its_database_it_is_alive_and_not_ready(empty_dsn: str) -> None:
    app = create_app(settings_for(empty_dsn))
    async with app.router.lifespan_context(app), client_of(app) as client:
        name = empty_dsn.partition("@/")[2].partition("?")[0]
        await on_server(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await on_server(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

        assert (await client.get("/healthz")).status_code == 200
        answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()["retryable"]) == (503, True), answer.text
