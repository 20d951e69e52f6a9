"""Whatever the API description allows, and much that it does not: no 500, and answers as described."""

import time
from collections.abc import AsyncIterator
from secrets import token_bytes, token_urlsafe
from typing import Any, NamedTuple
from uuid import UUID

import hypothesis
import jwt
import pytest
import requests
import schemathesis

from app.main import create_app
from tests.concurrency.rivals import until_idle
from tests.conftest import settings_for
from tests.credentials.support import FIRST, put_provider
from tests.databases import copy_of
from tests.factories import ACTOR, Factory, make_api_key
from tests.live import live_server
from tests.sql.support import call_row

config = schemathesis.Config.from_dict(
    {
        "generation": {
            # the same requests every time, so that a failure is a change of ours
            "deterministic": True,
            "database": "none",
            # the token is ours to send; test_matrix leaves it out
            "with-security-parameters": False,
        },
        # the boundaries of values are the business of tests/hostile
        "phases": {"coverage": {"enabled": False}},
        "checks": {
            # No schema can say that one instant comes after another, nor which text is a cursor or the current version.
            "positive_data_acceptance": {"enabled": False},
            # Who may not call, or holds no current version, is told so before the body is looked at.
            "negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 405, 412, 422, 428]},
        },
        "operations": [
            # GET finds a booking's address there, and says that "batch" is no id
            {"include-path": path, "checks": {"unsupported_method": {"enabled": False}}}
            for path in ("/v1/bookings/batch", "/v1/bookings/recurring")
        ]
        + [
            # a colon travels as %3A, which the check takes for a part of the name
            {
                "include-path": f"/v1/job-queues/{{name}}{step}",
                "checks": {"negative_data_rejection": {"enabled": False}},
            }
            for step in ("", "/pause", "/resume")
        ],
    }
)
schema = schemathesis.openapi.from_dict(
    create_app(settings_for("postgresql:///nowhere")).openapi(), config=config
).exclude(path="/v1/events")  # a stream has no end; its page takes the same


SECRETS: dict[str, Any] = {
    "JWT_SECRET": token_urlsafe(32),
    "STRIPE_WEBHOOK_SECRET": token_urlsafe(32),
    "ENCRYPTION_KEYS": FIRST,
    "PUBLIC_URL": "https://example.com",
    # nobody is there, and nothing is sent: no jobs run here
    "SMTP_URL": "smtp://127.0.0.1:1",
    "MAIL_FROM": "bookings@example.com",
    "SMS_URL": "http://127.0.0.1:1",
    "SMS_ACCOUNT": "AC1",
    "SMS_TOKEN": token_urlsafe(32),
    "SMS_FROM": "+15005550006",
    "SMS_INBOUND_URL": "https://example.com/v1/sms-inbound",
}
PRINCIPALS = ("admin", "frontend", "customer")


class Target(NamedTuple):
    """A server, a token of each kind, and ids of what exists, lest no request ever finds anything."""

    url: str
    session: requests.Session
    tokens: dict[str, str]
    known: dict[str, str]


@pytest.fixture(scope="module")
async def target(template: str) -> AsyncIterator[Target]:
    async with copy_of(template, "fuzz") as (dsn, conn):
        make = Factory(conn)
        resource_id = await make.resource()
        slot_id, full_slot_id = await make.slot(resource_id, max_bookings=1_000_000), await make.slot(resource_id)
        booking_id = await make.booking(slot_id)
        await make.booking(full_slot_id)
        entry = await call_row(
            conn, "join_waitlist", p_actor=ACTOR, p_slot_id=full_slot_id, p_customer='{"ref": "ann"}'
        )
        await put_provider(conn)
        tokens = {
            "admin": await make_api_key(conn, "admin"),
            "frontend": await make_api_key(conn, "frontend"),
            "customer": jwt.encode({"sub": "ann", "exp": int(time.time()) + 3600}, SECRETS["JWT_SECRET"], "HS256"),
        }
        known = {
            "resource_id": resource_id,
            "slot_id": slot_id,
            "booking_id": booking_id,
            "entry_id": entry["entry_id"],
        }
        async with live_server(dsn, TRUSTED_PROXIES="127.0.0.1", **SECRETS) as server:
            with requests.Session() as session:
                # proxies and passwords of this machine are none of ours, and take long to look up
                session.trust_env = False
                yield Target(server.url, session, tokens, {name: str(value) for name, value in known.items()})
            await until_idle(conn)
            assert "unexpected error" not in server.log


def is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(UUID(value))
    except ValueError:
        return False


def aim(members: Any, known: dict[str, str]) -> Any:
    """The same members, with ids that name something where any well-formed id stood."""
    if not isinstance(members, dict):
        return members
    return members | {name: known[name] for name, value in members.items() if name in known and is_uuid(value)}


@schema.parametrize()
@hypothesis.settings(max_examples=10, deadline=None)
def test_no_request_breaks_the_server_or_the_description(target: Target, case: schemathesis.Case[Any]) -> None:
    for principal in PRINCIPALS:
        try_out(target, principal, case)


def try_out(target: Target, principal: str, case: schemathesis.Case[Any]) -> None:
    """Send the request, aimed at what exists. Raises what the answer breaks."""
    case.path_parameters = aim(case.path_parameters, target.known)
    case.body = aim(case.body, target.known)
    case.query = aim(case.query, target.known)
    if "provider" in (case.path_parameters or {}) and principal == "customer":
        case.path_parameters["provider"] = "gametime"
    # each request from a client of its own, who may send its own wrong tokens
    client = ".".join(map(str, (10, *token_bytes(3))))
    headers = {"Authorization": f"Bearer {target.tokens[principal]}", "X-Forwarded-For": client}
    try:
        case.call_and_validate(base_url=target.url, session=target.session, headers=headers)
    except BaseException as error:
        error.add_note(f"as {principal}")
        raise
