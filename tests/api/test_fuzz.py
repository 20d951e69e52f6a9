"""Whatever the API description allows, and much that it does not: no 500, and answers as described."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import hypothesis
import pytest
import schemathesis

from app.main import create_app
from tests.conftest import dsn_of, on_server, settings_for
from tests.factories import Factory, make_api_key
from tests.live import live_server

config = schemathesis.Config.from_dict(
    {
        "generation": {
            # the same requests every time, so that a failure is a change of ours
            "deterministic": True,
            "database": "none",
            # the token is ours to send; test_security leaves it out
            "with-security-parameters": False,
        },
        "checks": {
            # No schema can say that one instant comes after another, nor which text is a cursor or the current version.
            "positive_data_acceptance": {"enabled": False},
            # If-Match is looked at before the body, so 412 may come first.
            "negative_data_rejection": {"expected-statuses": [400, 404, 405, 412, 422, 428]},
        },
    }
)
schema = schemathesis.openapi.from_dict(create_app(settings_for("postgresql:///nowhere")).openapi(), config=config)


class Target(NamedTuple):
    """A server, a token, and ids of what exists, for requests that would otherwise never find anything."""

    url: str
    headers: dict[str, str]
    known: dict[str, str]


@pytest.fixture(scope="module")
async def target(template: str) -> AsyncIterator[Target]:
    name = f"fuzz_{template}"
    await on_server(f"CREATE DATABASE {name} TEMPLATE {template}")
    conn = await asyncpg.connect(dsn_of(name), server_settings={"search_path": "holdfast"})
    make = Factory(conn)
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, max_bookings=1_000_000)
    booking_id = await make.booking(slot_id)
    key = await make_api_key(conn, "admin")
    async with live_server(dsn_of(name)) as server:
        known = {"resource_id": str(resource_id), "slot_id": str(slot_id), "booking_id": str(booking_id)}
        yield Target(server.url, {"Authorization": f"Bearer {key}"}, known)
    await conn.close()
    await on_server(f"DROP DATABASE {name} WITH (FORCE)")


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
@hypothesis.settings(max_examples=50, deadline=None)
def test_no_request_breaks_the_server_or_the_description(target: Target, case: schemathesis.Case[Any]) -> None:
    case.path_parameters = aim(case.path_parameters, target.known)
    case.body = aim(case.body, target.known)
    case.query = aim(case.query, target.known)

    case.call_and_validate(base_url=target.url, headers=target.headers)
