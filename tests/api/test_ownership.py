"""What a customer's token opens, it opens to what is the customer's own: every such operation, with another's rows.

The operations come from the API description, so a new one that takes customer tokens fails here until it says what it
does with what is another's.
"""

from collections.abc import AsyncIterator
from typing import Any, Literal, NamedTuple
from uuid import UUID

import asyncpg
import httpx2
import pytest
from pydantic import HttpUrl, SecretStr

from app.encryption import new_encryption_key
from app.main import create_app
from app.settings import Settings
from tests.api.calls import assert_problem
from tests.api.test_prebookings import ELEVEN, TEN, body_of
from tests.conftest import client_of, settings_for
from tests.contracts.support import Operation, operations
from tests.factories import Factory
from tests.sql.auto_syncs import make_crew, start
from tests.sql.prebookings import RULES, put_provider
from tests.sql.schedules import put_schedule
from tests.unit.test_tokens import SECRET, signed

ANN, BOB = "ann-4711", "bob-4712"
TABLES = (
    *("bookings", "waitlist_entries", "prebookings", "provider_credentials", "customers", "crews", "crew_members"),
    *("auto_syncs", "auto_sync_participants", "calendar_feeds"),
)


class Rule(NamedTuple):
    """How an operation is called for what is Ann's, and what Bob meets who calls it so.

    `hidden`: to him there is no such thing. `forbidden`: he may not name her. `own`: he gets what is his, which is
    nothing.
    """

    to_another: Literal["hidden", "forbidden", "own"]
    body: dict[str, Any] | None = None
    params: dict[str, str] | None = None
    headers: dict[str, str] | None = None


FOR_ANN: dict[str, Any] = {"customer": {"ref": ANN}}
NAMED = {"customer_ref": ANN}
SEEN = {"If-Match": '"1"'}
# A place in braces is filled with what Ann has.
RULES_OF = {
    "list_bookings": Rule("own", params=NAMED),
    "list_waitlist": Rule("own", params=NAMED),
    "list_prebookings": Rule("own", params=NAMED),
    "list_credentials": Rule("own", params=NAMED),
    "list_events": Rule("own"),
    "list_crews": Rule("own"),
    "list_auto_syncs": Rule("own"),
    "create_booking": Rule("forbidden", FOR_ANN | {"slot_id": "{free_slot}"}),
    "create_bookings": Rule("forbidden", FOR_ANN | {"items": [{"slot_id": "{free_slot}"}]}),
    "create_recurring_bookings": Rule(
        "forbidden", FOR_ANN | {"slot_id": "{free_slot}", "count": 2, "on_conflict": "skip"}
    ),
    "join_waitlist": Rule("forbidden", FOR_ANN | {"slot_id": "{full_slot}"}),
    "create_prebooking": Rule("forbidden", FOR_ANN | {"resource_id": "{pitch}", "target": {"starts_at_local": ELEVEN}}),
    "put_credentials": Rule("forbidden", {"customer_ref": ANN, "fields": {"user": "u", "password": "p"}}),
    "delete_credentials": Rule("forbidden", params=NAMED),
    "get_booking": Rule("hidden"),
    "get_waitlist_entry": Rule("hidden"),
    "get_prebooking": Rule("hidden"),
    "get_preferences": Rule("hidden"),
    "customer_calendar": Rule("hidden"),
    "list_customer_calendar_feeds": Rule("hidden"),
    "create_customer_calendar_feed": Rule("hidden"),
    "get_crew": Rule("hidden"),
    "list_crew_members": Rule("hidden"),
    "get_auto_sync": Rule("hidden"),
    "create_auto_sync": Rule("hidden", {"crew_id": "{crew_id}", "event_name": "Dinner", "timezone": "UTC"}),
    "pause_auto_sync": Rule("hidden", {}),
    "resume_auto_sync": Rule("hidden", {}),
    "record_response": Rule("hidden", {"answer": "accepted"}),
    "cancel_auto_sync": Rule("hidden", {}),
    "remove_crew_member": Rule("hidden"),
    "put_preferences": Rule("hidden", {"language": "el"}),
    "accept_offer": Rule("hidden"),
    "reschedule_booking": Rule("hidden", {"slot_id": "{free_slot}"}, headers=SEEN),
    "leave_waitlist": Rule("hidden"),
    "revoke_calendar_feed": Rule("hidden"),
    "cancel_prebooking": Rule("hidden", {}),
    "cancel_booking": Rule("hidden", {}, headers={"If-Match": '"2"'}),
}
# has no end: tests/api/test_events.py follows it over a socket, and proves that a customer never hears of another
STREAMS = {"stream_events"}


def name_of(operation: Operation) -> str:
    return str(operation.spec["operationId"])


def for_customers() -> list[Operation]:
    document = create_app(settings_for("postgresql:///nowhere")).openapi()
    return [
        operation
        for operation in operations(document)
        if any("customer_token" in requirement for requirement in operation.spec.get("security", ()))
    ]


# in the order of the rules, those last that end something
OPERATIONS = sorted(
    (operation for operation in for_customers() if name_of(operation) in RULES_OF),
    key=lambda operation: list(RULES_OF).index(name_of(operation)),
)


def filled(value: Any, things: dict[str, str]) -> Any:
    """The value with what Ann has in its places."""
    if isinstance(value, dict):
        return {name: filled(part, things) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, things) for part in value]
    return value.format_map(things) if isinstance(value, str) and value.startswith("{") else value


async def call(client: httpx2.AsyncClient, operation: Operation, things: dict[str, str]) -> httpx2.Response:
    rule = RULES_OF[name_of(operation)]
    return await client.request(
        operation.method.upper(),
        operation.path.format_map(things),
        json=filled(rule.body, things),
        params=rule.params,
        headers=rule.headers,
    )


class World(NamedTuple):
    things: dict[str, str]
    ann: httpx2.AsyncClient
    bob: httpx2.AsyncClient


@pytest.fixture
async def world(settings: Settings, conn: asyncpg.Connection, make: Factory) -> AsyncIterator[World]:
    """Ann has one of everything, Bob has nothing."""
    pitch: UUID = await make.resource()
    await put_schedule(conn, pitch, **RULES | {"horizon_days": 35})
    await put_provider(conn)
    full, free = await make.slot(), await make.slot(max_bookings=9)
    await make.booking(full, p_customer='{"ref": "somebody"}')
    crew_id = await make_crew(conn, ANN, organizer=ANN)
    app = create_app(
        settings.model_copy(
            update={
                "jwt_secret": SecretStr(SECRET),
                "encryption_keys": SecretStr(new_encryption_key()),
                "public_url": HttpUrl("https://book.example.com"),
            }
        )
    )
    async with (
        app.router.lifespan_context(app),
        client_of(app, signed(SECRET, sub=ANN)) as ann,
        client_of(app, signed(SECRET, sub=BOB)) as bob,
    ):

        async def made(path: str, body: dict[str, Any]) -> str:
            answer = await ann.post(path, json=body)
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

        yield World(
            {
                "free_slot": str(free),
                "full_slot": str(full),
                "pitch": str(pitch),
                "ref": ANN,
                "provider": "club",
                "booking_id": await made("/v1/bookings", {"slot_id": str(await make.slot())}),
                "entry_id": await made("/v1/waitlist", {"slot_id": str(full)}),
                "prebooking_id": await made("/v1/prebookings", body_of(pitch, None, TEN)),
                "feed_id": await made(f"/v1/customers/{ANN}/calendar-feeds", {}),
                "crew_id": str(crew_id),
                "member_id": str(await conn.fetchval("SELECT id FROM crew_members")),
                "auto_sync_id": (await start(conn, crew_id))["id"],
            },
            ann,
            bob,
        )


async def rows(conn: asyncpg.Connection) -> list[str]:
    found = [await conn.fetch(f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1") for table in TABLES]
    return [row[0] for table in found for row in table]


def test_every_operation_that_customers_may_call_has_a_rule_for_what_is_anothers() -> None:
    assert {name_of(operation) for operation in for_customers()} == RULES_OF.keys() | STREAMS


async def test_what_is_anothers_is_hidden_forbidden_or_left_out_and_stays_as_it_is(
    world: World, conn: asyncpg.Connection
) -> None:
    before = await rows(conn)

    for operation in OPERATIONS:
        answer = await call(world.bob, operation, world.things)
        match RULES_OF[name_of(operation)].to_another:
            case "hidden":
                assert answer.status_code == 404, (name_of(operation), answer.text)
            case "forbidden":
                assert_problem(answer, 403, "forbidden")
            case "own":
                assert (answer.status_code, answer.json()["items"]) == (200, []), name_of(operation)
        assert ANN not in answer.text, name_of(operation)

    assert await rows(conn) == before


async def test_what_is_ones_own_is_open(world: World) -> None:
    for operation in OPERATIONS:
        answer = await call(world.ann, operation, world.things)

        # a rule of booking may still refuse, as it would anybody
        assert answer.is_success or answer.status_code == 409, (name_of(operation), answer.text)
