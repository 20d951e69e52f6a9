"""/v1/api-keys: a key is answered once, and what ends it ends it wherever it is used."""

from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import pytest
import structlog
from fastapi import FastAPI

from app.security import KEY_CACHE_SECONDS, KeyRing
from tests.api.calls import assert_problem
from tests.conftest import client_of
from tests.unit.test_key_ring import Clock


async def make_key(admin: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await admin.post("/v1/api-keys", json={"name": "shop", "scopes": ["frontend"]} | body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def opens(app: FastAPI, key: str) -> bool:
    async with client_of(app, key) as client:
        return (await client.get("/v1/bookings")).is_success


async def test_a_key_is_answered_once_and_kept_nowhere(
    app: FastAPI, admin: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    with structlog.testing.capture_logs() as logged:
        made = await make_key(admin, expires_in_days=90)
        listed = (await admin.get("/v1/api-keys")).text

    secret = made["key"]
    assert secret.startswith(made["api_key"]["prefix"])
    assert await opens(app, secret)
    stored = await conn.fetchval("SELECT string_agg(to_jsonb(k)::text, '') FROM api_keys k")
    audited = await conn.fetchval("SELECT string_agg(to_jsonb(a)::text, '') FROM audit_log a")
    assert all(secret[11:] not in text for text in (stored, audited, listed, str(logged)))


async def test_a_key_shows_whose_it_is_and_when_it_ends(admin: httpx2.AsyncClient) -> None:
    made = (await make_key(admin, expires_in_days=90, scopes=["cron", "frontend", "cron"]))["api_key"]
    forever = (await make_key(admin))["api_key"]

    assert (made["name"], made["scopes"]) == ("shop", ["cron", "frontend"])
    assert made["expires_at"] > made["created_at"]
    assert (made["last_used_at"], made["revoked_at"], forever["expires_at"]) == (None, None, None)
    items = (await admin.get("/v1/api-keys")).json()["items"]
    assert [item["id"] for item in items[:2]] == [forever["id"], made["id"]]
    assert items[1] == made


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"name": ""},
        {"expires_in_days": 0},
        {"expires_in_days": "90"},
        {"key_hash": "x"},
    ],
)
async def test_a_key_that_could_not_be_is_refused(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection, body: dict[str, Any]
) -> None:
    answer = await admin.post("/v1/api-keys", json={"name": "shop", "scopes": ["cron"]} | body)

    assert_problem(answer, 422, "validation")
    assert await conn.fetchval("SELECT count(*) FROM api_keys") == 1


async def test_a_revoked_key_opens_nothing_a_second_later(app: FastAPI, admin: httpx2.AsyncClient) -> None:
    clock = Clock()
    made = await make_key(admin)
    app.state.keys = KeyRing(app.state.database, clock)
    assert await opens(app, made["key"])

    answers = [await admin.post(f"/v1/api-keys/{made['api_key']['id']}/revoke") for _ in range(2)]

    assert answers[0].json()["revoked_at"] is not None
    assert answers[1].json() == answers[0].json()
    clock.now += KEY_CACHE_SECONDS
    assert not await opens(app, made["key"])


async def test_a_rotated_key_works_on_beside_the_new_one(app: FastAPI, admin: httpx2.AsyncClient) -> None:
    old = await make_key(admin)

    answer = await admin.post(f"/v1/api-keys/{old['api_key']['id']}/rotate", json={"overlap_seconds": 3600})

    assert answer.status_code == 201
    new = answer.json()
    assert new["key"] != old["key"]
    assert await opens(app, old["key"])
    assert await opens(app, new["key"])


async def test_without_an_overlap_a_rotated_key_is_over(app: FastAPI, admin: httpx2.AsyncClient) -> None:
    old = await make_key(admin)
    path = f"/v1/api-keys/{old['api_key']['id']}/rotate"

    new = (await admin.post(path, json={"overlap_seconds": 0})).json()

    assert not await opens(app, old["key"])
    assert await opens(app, new["key"])
    assert_problem(await admin.post(path, json={}), 409, "api_key_ended")


@pytest.mark.parametrize("step", ["rotate", "revoke"])
async def test_a_key_that_nobody_made_is_not_found(admin: httpx2.AsyncClient, step: str) -> None:
    assert_problem(await admin.post(f"/v1/api-keys/{uuid4()}/{step}", json={}), 404, "api_key_not_found")
