"""API keys and the cron secret: how they are sent, how soon they end, and what is kept of them.

Which of them opens which operation is the matter of test_matrix.py.
"""

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.main import create_app
from app.security import KEY_CACHE_SECONDS, SHOWN_PREFIX_LENGTH, KeyRing
from tests.api.calls import assert_problem
from tests.conftest import CRON_SECRET, client_of, settings_for
from tests.factories import ACTOR, make_api_key


async def revoke(conn: asyncpg.Connection, key: str) -> None:
    assert await conn.fetchval("SELECT revoke_api_key($1, $2)", ACTOR, key[:SHOWN_PREFIX_LENGTH]) == 1


async def test_a_refusal_names_the_scheme_or_the_scopes(
    public: httpx2.AsyncClient, frontend: httpx2.AsyncClient
) -> None:
    unauthorized = await public.get("/v1/bookings")
    forbidden = await frontend.post("/v1/resources", json={})

    assert unauthorized.headers["www-authenticate"] == "Bearer"
    assert assert_problem(forbidden, 403, "forbidden")["needs_scope"] == ["admin"]


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic aGY6aGY=",
        b"hf_x",
        b"Bearer \xe9\xff",
        b"Bearer a b",
        b"Bearer " + b"x" * 9999,
    ],
)
async def test_an_authorization_that_holds_no_key_is_unauthorized(public: httpx2.AsyncClient, header: bytes) -> None:
    for path in ("/v1/bookings", "/cron/process-jobs"):
        assert_problem(await public.get(path, headers=[(b"authorization", header)]), 401, "unauthorized")


async def test_the_scheme_is_written_in_any_case(app: FastAPI, conn: asyncpg.Connection) -> None:
    key = await make_api_key(conn, "frontend")

    async with client_of(app) as client:
        answer = await client.get("/v1/bookings", headers={"Authorization": f"bEARER {key}"})

    assert answer.status_code == 200


async def test_a_revoked_key_opens_nothing_once_a_second_has_passed(app: FastAPI, conn: asyncpg.Connection) -> None:
    now = 1000.0
    app.state.keys = KeyRing(app.state.database, clock=lambda: now)
    key = await make_api_key(conn, "frontend")
    async with client_of(app, key) as client:
        assert (await client.get("/v1/bookings")).status_code == 200
        await revoke(conn, key)

        now += KEY_CACHE_SECONDS

        assert_problem(await client.get("/v1/bookings"), 401, "unauthorized")
    assert KEY_CACHE_SECONDS <= 1


async def test_a_key_is_looked_up_once_a_second_however_often_it_is_used(
    app: FastAPI, conn: asyncpg.Connection
) -> None:
    app.state.keys = KeyRing(app.state.database, clock=lambda: 1000.0)
    key = await make_api_key(conn, "frontend")
    async with client_of(app, key) as client:
        await client.get("/v1/bookings")
        await revoke(conn, key)

        # the clock stands still, so the answer is the remembered one
        assert (await client.get("/v1/bookings")).status_code == 200


async def test_without_a_cron_secret_only_a_key_opens_the_cron(dsn: str, conn: asyncpg.Connection) -> None:
    app = create_app(settings_for(dsn).model_copy(update={"cron_secret": None}))
    async with app.router.lifespan_context(app):
        async with client_of(app, CRON_SECRET) as client:
            assert_problem(await client.post("/cron/process-jobs"), 401, "unauthorized")
        async with client_of(app, await make_api_key(conn, "cron")) as client:
            assert (await client.post("/cron/process-jobs")).status_code == 200


@pytest.mark.parametrize("name", ["old", "new"])
async def test_while_the_cron_secret_changes_both_open_the_cron(dsn: str, name: str) -> None:
    secrets = {"old": "the-old-secret-of-the-cron", "new": "the-new-secret-of-the-cron"}
    both = SecretStr(f"{secrets['new']}, {secrets['old']}")
    app = create_app(settings_for(dsn).model_copy(update={"cron_secret": both}))
    async with app.router.lifespan_context(app):
        async with client_of(app, secrets[name]) as client:
            assert (await client.post("/cron/process-jobs")).status_code == 200
        for wrong in (both.get_secret_value(), "the-old", secrets[name] + ",", secrets[name][:-1]):
            async with client_of(app, wrong) as client:
                assert_problem(await client.post("/cron/process-jobs"), 401, "unauthorized")


async def test_the_database_keeps_no_key_that_could_be_used(conn: asyncpg.Connection) -> None:
    key = await make_api_key(conn, "admin")

    stored = await conn.fetchval("SELECT to_jsonb(k)::text FROM api_keys k")
    audited = await conn.fetchval("SELECT string_agg(to_jsonb(a)::text, '') FROM audit_log a")

    assert key not in stored + audited
    assert key[SHOWN_PREFIX_LENGTH:] not in stored + audited
