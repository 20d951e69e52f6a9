"""A password that is stored is found nowhere afterwards: not in logs, answers, tables, or what a crash leaves."""

import base64
import json
import logging
import time
from typing import Any

import asyncpg
import httpx2
import jwt
import pytest

from app.adapters.adapter import Credentials
from app.credentials.handlers import check_credentials
from app.credentials.rotation import rotate
from app.database import Database
from app.encryption import EncryptionKeys
from app.jobs.runner import Runner
from app.log import configure_logging
from app.providers.vault import seal, unseal
from app.security import Actor
from app.settings import Settings
from tests.credentials.club import Club, ClubAdapter
from tests.credentials.support import FIRST, SECOND, put_provider, with_keys
from tests.jobs.support import do_all
from tests.live import live_server
from tests.migrations.test_dump import require_pg_dump_for, run

CANARY = "correct-horse-battery-staple"
JWT_SECRET = "a-secret-for-tests-that-is-long-enough"  # noqa: S105
PATH = "/v1/credentials/gametime"
ACTOR = Actor("system", "test")


def forms(secret: str) -> list[str]:
    """The secret, and what it looks like in bytea and in base64, wherever in a text it stands."""
    shifted = [base64.b64encode(b"x" * n + secret.encode()).decode()[4:-4] for n in range(3)]
    return [secret, secret.encode().hex(), secret[:12], secret[-12:], *shifted]


def assert_without(text: str, *secrets: str) -> None:
    assert [form for secret in secrets for form in forms(secret) if form in text] == []


async def send(client: httpx2.AsyncClient, conn: asyncpg.Connection) -> list[httpx2.Response]:
    """Every way in which a password gets to the server: stored, refused for its form, and met in trouble."""
    good = {"fields": {"password": CANARY}}
    answers = [
        await client.put(PATH, json=good),
        await client.put("/v1/credentials/nowhere", json=good),
        await client.put(PATH, json={"fields": {"password": CANARY * 50}}),
        await client.put(PATH, json={"fields": {"password": [CANARY]}}),
        await client.put(PATH, json={"fields": CANARY}),
        await client.put(PATH, json=good | {"customer_ref": "bob"}),
        await client.put(PATH, json=good | {"note": CANARY}),
        await client.put(PATH, content=json.dumps(good)[:-1]),
        await client.post("/v1/bookings", json=good),
    ]
    await conn.execute("ALTER TABLE provider_credentials RENAME TO elsewhere")
    answers.append(await client.put(PATH, json=good))
    await conn.execute("ALTER TABLE elsewhere RENAME TO provider_credentials")
    return answers


async def test_a_server_that_logs_all_it_can_logs_and_answers_no_password(dsn: str, conn: asyncpg.Connection) -> None:
    await put_provider(conn)
    token = jwt.encode({"sub": "ann", "exp": int(time.time()) + 3600}, JWT_SECRET, "HS256")
    environment: dict[str, Any] = {"LOG_LEVEL": "debug", "UVICORN_LOG_LEVEL": "trace", "PYTHONASYNCIODEBUG": "1"}
    async with (
        live_server(dsn, ENCRYPTION_KEYS=FIRST, JWT_SECRET=JWT_SECRET, **environment) as server,
        server.client(token) as client,
    ):
        answers = await send(client, conn)
        log = server.log

    assert [a.status_code for a in answers] == [200, 404, 422, 422, 422, 403, 422, 422, 422, 500]
    assert "unexpected error" in log
    assert "TRACE" in log
    assert_without(log, CANARY, FIRST.partition(":")[2])
    assert_without("".join(f"{a.text} {a.headers}" for a in answers), CANARY, FIRST.partition(":")[2])


async def all_rows(conn: asyncpg.Connection) -> str:
    """Every row of every table as text."""
    tables = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'holdfast'")
    return "".join(
        [str(await conn.fetchval(f"SELECT string_agg(to_jsonb(t)::text, '') FROM {name} t")) for (name,) in tables]
    )


async def test_no_table_and_no_dump_holds_a_password_whatever_became_of_it(
    dsn: str,
    ann: httpx2.AsyncClient,
    conn: asyncpg.Connection,
    database: Database,
    settings: Settings,
    site: Club,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    configure_logging("debug")
    await put_provider(conn, p_settings=json.dumps({"url": site.url}))
    site.words = "PASSWORD is not the password"

    async def fail(_self: ClubAdapter, credentials: Credentials) -> None:
        raise RuntimeError(dict(credentials.fields))

    for check in (ClubAdapter.check_credentials, fail):
        monkeypatch.setattr(ClubAdapter, "check_credentials", check)
        assert (await ann.put(PATH, json={"fields": {"password": CANARY}})).status_code == 200
        handler = check_credentials(database, settings)._replace(queue="provider:gametime")
        await do_all(Runner(database, ACTOR, [handler], "test", concurrency=1, lease=lambda: 30.0))
    keys = with_keys(settings, SECOND, FIRST).keys_of_credentials
    assert keys is not None
    assert (await rotate(database, ACTOR, keys)).rotated == 1

    rows = await all_rows(conn)
    assert "credentials.invalid" in rows
    assert "RuntimeError" in rows
    assert_without(rows, CANARY, FIRST.partition(":")[2], SECOND.partition(":")[2])
    told = capfd.readouterr()
    assert "a job failed" in told.err
    assert_without(told.out + told.err + caplog.text, CANARY)
    require_pg_dump_for(conn)
    dump = run("pg_dump", "--no-password", dsn)
    assert "COPY holdfast.provider_credentials" in dump
    assert_without(dump, CANARY, FIRST.partition(":")[2])
    sealed = await conn.fetchval("SELECT encode(ciphertext, 'hex') FROM provider_credentials")
    assert dump.count(sealed) == 1


def test_nothing_that_a_traceback_may_show_shows_it(settings: Settings) -> None:
    keys = EncryptionKeys(FIRST)
    sealed = seal(keys, "gametime", "ann", {"password": CANARY})
    credentials = unseal(keys, "gametime", "ann", sealed)

    assert credentials.fields == {"password": CANARY}
    assert_without(f"{credentials!r} {credentials} {sealed!r} {keys!r}", CANARY, FIRST.partition(":")[2])
    assert_without(f"{with_keys(settings, FIRST)!r}", FIRST.partition(":")[2])
