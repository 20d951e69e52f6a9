"""Rate limits over HTTP: whose they are, that several processes keep one, and what they leave alone."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import asyncpg
import httpx2
import jwt
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.main import create_app
from app.rate_limits import MAX_FAILURES, PORTION
from app.security import KeyRing
from app.settings import Settings
from tests.api.calls import assert_problem
from tests.conftest import CRON_SECRET, client_of
from tests.factories import Factory, make_api_key

JWT_SECRET = "a-secret-for-tests-that-is-long-enough"  # noqa: S105
# of which nothing comes back while a test runs
QUOTA = 3


@asynccontextmanager
async def serving(settings: Settings, **changes: Any) -> AsyncIterator[FastAPI]:
    app = create_app(settings.model_copy(update={"jwt_secret": SecretStr(JWT_SECRET), **changes}))
    async with app.router.lifespan_context(app):
        yield app


def token_of(ref: str, expires_in: int = 600) -> str:
    return jwt.encode({"sub": ref, "exp": int(time.time()) + expires_in}, JWT_SECRET, "HS256")


async def ask(app: FastAPI, token: str | None = None, path: str = "/v1/resources", **headers: str) -> httpx2.Response:
    async with client_of(app, token) as client:
        return await client.get(path, headers=headers)


async def passed(app: FastAPI, token: str | None = None, path: str = "/v1/bookings", **headers: str) -> int:
    """How many requests pass before one is refused."""
    for count in range(50):
        answer = await ask(app, token, path, **headers)
        if answer.status_code == 429:
            return count
        assert answer.is_success, answer.text
    return 50


async def test_a_refusal_says_when_to_come_again(settings: Settings) -> None:
    async with serving(settings, rate_limit_read=QUOTA) as app:
        answers = [await ask(app) for _ in range(QUOTA + 1)]

    assert [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers] == [
        f'"read";r={left}' for left in (2, 1, 0, 0)
    ]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {f'"read";q={QUOTA};w=60'}
    problem = assert_problem(answers[-1], 429, "rate_limited")
    assert problem["retryable"] is True
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60 / QUOTA


async def test_a_write_is_counted_apart_from_a_read(settings: Settings) -> None:
    async with serving(settings, rate_limit_write=QUOTA) as app, client_of(app, token_of("ann")) as client:
        read = await client.get("/v1/bookings")
        written = await client.post("/v1/bookings", json={})

    assert "ratelimit" not in read.headers
    assert written.headers["ratelimit-policy"] == f'"write";q={QUOTA};w=60'


async def test_processes_on_one_database_keep_one_limit_up_to_a_portion_each(settings: Settings) -> None:
    quota = 2 * PORTION
    portion = quota // PORTION
    async with serving(settings, rate_limit_read=quota) as one, serving(settings, rate_limit_read=quota) as other:
        # by turns, as a balancer would
        statuses = [(await ask(app)).status_code for _ in range(quota) for app in (one, other)]

    # one more may come back in the second and a half that a slow machine takes for each
    assert quota <= statuses.count(200) <= quota + 2 * portion + 10
    assert statuses.count(429) >= quota - 2 * portion - 10


async def test_a_limit_is_one_callers_own(settings: Settings, conn: asyncpg.Connection) -> None:
    keys = [await make_api_key(conn, "frontend") for _ in range(2)]
    async with serving(settings, rate_limit_read=QUOTA, rate_limit_key_read=QUOTA + 1) as app:
        assert await passed(app, token_of("ann")) == QUOTA
        assert await passed(app, token_of("bob")) == QUOTA
        assert await passed(app, keys[0]) == QUOTA + 1
        assert await passed(app, keys[1]) == QUOTA + 1
        assert await passed(app, path="/v1/resources") == QUOTA


async def test_what_is_public_counts_for_the_key_that_is_shown_and_for_the_address_otherwise(
    settings: Settings, conn: asyncpg.Connection
) -> None:
    key = await make_api_key(conn, "frontend")
    async with serving(settings, rate_limit_read=QUOTA, rate_limit_key_read=QUOTA + 1) as app:
        assert await passed(app, key, "/v1/resources") == QUOTA + 1
        assert await passed(app, "hf_nonsense", "/v1/resources") == QUOTA
        assert await passed(app, None, "/v1/resources") == 0


async def test_a_key_without_a_limit_has_none_for_what_is_public_either(
    settings: Settings, conn: asyncpg.Connection
) -> None:
    key = await make_api_key(conn, "frontend")
    async with serving(settings, rate_limit_read=1) as app:
        for path in ("/v1/resources", "/v1/bookings"):
            assert [(await ask(app, key, path)).status_code for _ in range(4)] == [200] * 4


async def test_behind_a_proxy_each_client_has_a_limit_and_nobody_can_make_up_another(settings: Settings) -> None:
    proxies = (ip_network("203.0.113.0/24"),)
    async with serving(settings, rate_limit_read=QUOTA, trusted_proxies=proxies) as app:
        assert await passed(app, path="/v1/resources", **{"X-Forwarded-For": "198.51.100.1"}) == QUOTA
        assert await passed(app, path="/v1/resources", **{"X-Forwarded-For": "198.51.100.2"}) == QUOTA
        assert await passed(app, path="/v1/resources", **{"X-Forwarded-For": "1.2.3.4, 198.51.100.2"}) == 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/cron/process-jobs", "/metrics"])
async def test_what_operates_the_service_is_not_limited(settings: Settings, path: str) -> None:
    limits = dict.fromkeys(("rate_limit_read", "rate_limit_write", "rate_limit_key_read", "rate_limit_key_write"), 1)
    async with serving(settings, **limits) as app:
        answers = [await ask(app, CRON_SECRET, path) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert "ratelimit" not in answers[0].headers


async def test_without_a_setting_there_is_no_limit_and_no_header(app: FastAPI, conn: asyncpg.Connection) -> None:
    answer = await ask(app, await make_api_key(conn, "frontend"), "/v1/bookings")

    assert not {"ratelimit", "ratelimit-policy"} & set(answer.headers)


async def test_a_booking_that_is_refused_for_its_limit_is_not_made(settings: Settings, make: Factory) -> None:
    slot_id = await make.slot(max_bookings=5)
    body = {"slot_id": str(slot_id), "customer": {"name": "Ann"}}
    async with serving(settings, rate_limit_write=1) as app, client_of(app, token_of("ann")) as client:
        statuses = [(await client.post("/v1/bookings", json=body)).status_code for _ in range(3)]

    assert statuses == [201, 429, 429]
    assert await make.conn.fetchval("SELECT count(*) FROM bookings") == 1


@pytest.mark.parametrize("path", ["/v1/bookings", "/cron/process-jobs"])
@pytest.mark.parametrize("token", ["hf_wrong", "wrong", "a.b.c"])
async def test_wrong_tokens_are_heard_so_often_and_no_more(app: FastAPI, path: str, token: str) -> None:
    for number in range(MAX_FAILURES):
        assert_problem(await ask(app, f"{token}{number}", path), 401, "unauthorized")

    refused = await ask(app, token, path)
    assert_problem(refused, 429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1


async def test_whoever_has_a_good_token_passes_beside_one_who_guesses(
    settings: Settings, conn: asyncpg.Connection
) -> None:
    key = await make_api_key(conn, "admin")
    async with serving(settings) as app:
        for number in range(MAX_FAILURES + 5):
            await ask(app, f"hf_{number}", "/v1/bookings")

        for path, token in (
            ("/v1/bookings", key),
            ("/v1/bookings", token_of("ann")),
            ("/cron/process-jobs", CRON_SECRET),
            ("/v1/resources", None),
        ):
            assert (await ask(app, token, path)).status_code == 200
        # no guess: who comes with it needs to hear that it is over
        assert_problem(await ask(app, token_of("ann", -600), "/v1/bookings"), 401, "unauthorized")
        assert_problem(await ask(app, None, "/v1/bookings"), 401, "unauthorized")


async def test_the_use_of_a_key_is_on_record_when_the_process_ends_at_the_latest(
    settings: Settings, conn: asyncpg.Connection
) -> None:
    key = await make_api_key(conn, "frontend")
    last_used = "SELECT last_used_at FROM api_keys"
    async with serving(settings) as app:
        assert (await ask(app, key, "/v1/bookings")).is_success
        assert await conn.fetchval(last_used) is None

    assert await conn.fetchval(last_used) is not None


async def test_a_use_that_could_not_be_recorded_is_recorded_the_next_time(
    app: FastAPI, conn: asyncpg.Connection
) -> None:
    keys: KeyRing = app.state.keys
    await ask(app, await make_api_key(conn, "frontend"), "/v1/bookings")
    await conn.execute("ALTER FUNCTION record_api_key_uses RENAME TO gone")
    await keys.record_uses()
    await conn.execute("ALTER FUNCTION gone RENAME TO record_api_key_uses")

    await keys.record_uses()

    assert await conn.fetchval("SELECT last_used_at FROM api_keys") is not None
