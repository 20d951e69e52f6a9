"""Who may call what: every operation of the API description, with every kind of token."""

import re
import time
from typing import NamedTuple
from uuid import uuid4

import asyncpg
import httpx2
import jwt
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app import rate_limits
from app.main import create_app
from app.security import KEY_CACHE_SECONDS, SHOWN_PREFIX_LENGTH, KeyRing
from app.settings import Settings
from tests.api.calls import assert_problem
from tests.conftest import CRON_SECRET, client_of, settings_for
from tests.factories import ACTOR, make_api_key

JWT_SECRET = "a-secret-for-tests-that-is-long-enough"  # noqa: S105

# Which tokens open an operation. What is not here is public: a new operation must choose.
ADMIN = {
    "create_resource",
    "update_resource",
    "put_schedule",
    "put_exception",
    "delete_exception",
    "add_slots",
    "confirm_booking",
    "mark_no_show",
    "list_payment_events",
    "resource_calendar",
    "check_invariants",
    "list_jobs",
    "job_stats",
    "get_job",
    "retry_job",
    "cancel_job",
    "put_queue",
    "pause_queue",
    "resume_queue",
    "put_provider",
    "list_providers",
    "get_provider",
    "create_webhook_endpoint",
    "list_webhook_endpoints",
    "get_webhook_endpoint",
    "update_webhook_endpoint",
    "disable_webhook_endpoint",
    "rotate_webhook_secret",
    "test_webhook_endpoint",
    "replay_events",
    "list_deliveries",
    "get_delivery",
    "replay_delivery",
    "preview_message",
    "list_channels",
    "put_channel",
    "create_api_key",
    "list_api_keys",
    "rotate_api_key",
    "revoke_api_key",
    "export_customer",
    "erase_customer",
    "put_legal_hold",
    "delete_legal_hold",
}
FRONTEND = {"booking_history", "record_payment", "list_messages", "create_crew", "add_crew_member"}
CUSTOMER = {
    "create_booking",
    "list_bookings",
    "get_booking",
    "cancel_booking",
    "reschedule_booking",
    "create_bookings",
    "create_recurring_bookings",
    "join_waitlist",
    "list_waitlist",
    "get_waitlist_entry",
    "accept_offer",
    "leave_waitlist",
    "create_prebooking",
    "list_prebookings",
    "get_prebooking",
    "cancel_prebooking",
    "customer_calendar",
    "put_credentials",
    "list_credentials",
    "delete_credentials",
    "stream_events",
    "list_events",
    "get_preferences",
    "put_preferences",
    "list_crews",
    "get_crew",
    "list_crew_members",
    "remove_crew_member",
    "create_auto_sync",
    "list_auto_syncs",
    "get_auto_sync",
    "record_response",
    "pause_auto_sync",
    "resume_auto_sync",
    "cancel_auto_sync",
}
CRON = {"process_jobs", "process_jobs_by_get", "metrics"}
PUBLIC = {
    "list_resources",
    "get_resource",
    "get_schedule",
    "available_slots",
    "given_slots",
    "healthz",
    "readyz",
    "jobs_readiness",
}
# tests/api/test_payment_events.py and test_messages.py have their ways in
SIGNED = {"take_stripe_event", "take_sms"}
OPENS = (
    {name: {"admin"} for name in ADMIN}
    | {name: {"admin", "frontend"} for name in FRONTEND}
    | {name: {"admin", "frontend", "customer"} for name in CUSTOMER}
    | {name: {"admin", "cron", "cron secret"} for name in CRON}
)
ENDED = {"revoked": "revoked_at", "expired": "expires_at"}
TOKENS = (
    "none",
    "garbage",
    "revoked",
    "expired",
    "customer",
    "expired customer",
    "frontend",
    "cron",
    "cron secret",
    "admin",
)


class Operation(NamedTuple):
    name: str
    method: str
    path: str
    is_secured: bool


def operations() -> list[Operation]:
    paths = create_app(settings_for("postgresql:///nowhere")).openapi()["paths"]
    return [
        Operation(operation["operationId"], method.upper(), path, "security" in operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


async def revoke(conn: asyncpg.Connection, key: str) -> None:
    assert await conn.fetchval("SELECT revoke_api_key($1, $2)", ACTOR, key[:SHOWN_PREFIX_LENGTH]) == 1


def customer_token(expires_in: int) -> str:
    return jwt.encode({"sub": "ann", "exp": int(time.time()) + expires_in}, JWT_SECRET, "HS256")


async def token_of(conn: asyncpg.Connection, kind: str) -> str | None:
    match kind:
        case "none":
            return None
        case "garbage":
            return "hf_garbage"
        case "cron secret":
            return CRON_SECRET
        case "customer" | "expired customer":
            return customer_token(3600 if kind == "customer" else -3600)
    key = await make_api_key(conn, "admin" if kind in ENDED else kind)  # type: ignore[arg-type]
    if kind in ENDED:
        await conn.execute(f"UPDATE api_keys SET {ENDED[kind]} = now()")
    return key


async def call(client: httpx2.AsyncClient, operation: Operation) -> httpx2.Response:
    """A request without a body: enough to get past the door, or not."""
    path = operation.path.replace("{date}", "2030-01-01").replace("{ref}", "ann")
    # no place to go on from: a stream of events would have no end
    headers = {"Last-Event-ID": "nowhere"}
    return await client.request(operation.method, re.sub(r"{\w+}", str(uuid4()), path), headers=headers)


def test_the_lists_above_name_every_operation_of_the_api() -> None:
    assert {operation.name for operation in operations()} == ADMIN | FRONTEND | CUSTOMER | CRON | PUBLIC | SIGNED


def test_the_api_description_says_which_operations_take_a_token() -> None:
    assert {operation.name for operation in operations() if operation.is_secured} == OPENS.keys() | SIGNED


@pytest.mark.parametrize("kind", TOKENS)
async def test_a_token_opens_its_own_operations_and_no_other(
    settings: Settings, conn: asyncpg.Connection, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # each call of this test is one more wrong token of the same address
    monkeypatch.setattr(rate_limits, "MAX_FAILURES", 10_000)
    app = create_app(settings.model_copy(update={"jwt_secret": SecretStr(JWT_SECRET)}))
    async with app.router.lifespan_context(app), client_of(app, await token_of(conn, kind)) as client:
        for operation in operations():
            answer = await call(client, operation)
            opens = OPENS.get(operation.name)
            if opens is None or kind in opens:
                assert answer.status_code not in {401, 403}, operation
            elif kind in {"frontend", "cron"}:
                assert_problem(answer, 403, "forbidden")
            else:
                # The cron secret is no API key: elsewhere it is as good as a guess.
                assert_problem(answer, 401, "unauthorized")


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
