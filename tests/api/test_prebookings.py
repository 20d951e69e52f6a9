"""/v1/prebookings: ask before it opens, have it when it does, look at what became of it, or give it up."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
from pydantic import SecretStr

from app.database import Database
from app.main import create_app
from app.prebookings.handlers import run_openings
from app.settings import Settings
from tests.api.calls import assert_problem
from tests.concurrency.rivals import until
from tests.conftest import client_of
from tests.contracts.test_responses import assert_declared
from tests.factories import Factory
from tests.jobs.test_worker import at_work, until_asleep
from tests.sql.prebookings import RULES, put_provider
from tests.sql.schedules import put_schedule
from tests.sql.support import NOBODY
from tests.unit.test_tokens import SECRET, signed

PATH = "/v1/prebookings"
ONE = PATH + "/{prebooking_id}"
WEEK = timedelta(days=7)
LATER = (datetime.now(UTC) + timedelta(days=30)).date()
TEN, ELEVEN = f"{LATER}T10:00", f"{LATER}T11:00"
# by the clock, with what a machine is slow at
SOON_ENOUGH_MS = 500

Customers = dict[str, httpx2.AsyncClient]


def body_of(resource_id: UUID, ref: str | None = "ann", time: str = TEN, **overrides: Any) -> dict[str, Any]:
    """The least that prebooks that slot."""
    customer = {"customer": {"ref": ref}} if ref else {}
    return {"resource_id": str(resource_id), "target": {"starts_at_local": time}} | customer | overrides


async def prebook(client: httpx2.AsyncClient, *given: Any, key: str | None = None, **overrides: Any) -> httpx2.Response:
    """POST /v1/prebookings, with an Idempotency-Key where one is given."""
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post(PATH, json=body_of(*given, **overrides), headers=headers)


async def ids(client: httpx2.AsyncClient, **filters: Any) -> list[str]:
    """Which prebookings a list has."""
    answer = await client.get(PATH, params=filters)
    assert_declared(answer, PATH)
    return [item["id"] for item in answer.json()["items"]]


@pytest.fixture
async def pitch(conn: asyncpg.Connection, make: Factory) -> UUID:
    """A resource that opens a week ahead, and whose slots are there a month ahead."""
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, **RULES | {"horizon_days": 35})
    return resource_id


@pytest.fixture
async def customers(settings: Settings) -> AsyncIterator[Customers]:
    """ann and ben, each with a token of their own."""
    app = create_app(settings.model_copy(update={"jwt_secret": SecretStr(SECRET)}))
    async with app.router.lifespan_context(app), AsyncExitStack() as stack:
        yield {ref: await stack.enter_async_context(client_of(app, signed(SECRET, sub=ref))) for ref in ("ann", "ben")}


# Made, read, given up


async def test_a_prebooking_is_made_and_found_at_its_location(frontend: httpx2.AsyncClient, pitch: UUID) -> None:
    answer = await prebook(
        frontend,
        pitch,
        preferences=[{"starts_at_local": ELEVEN}],
        units=2,
        payment_method="pay_now",
        join_waitlist=True,
    )

    made = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"{PATH}/{made['id']}")
    assert_declared(answer, PATH)
    assert made["target"] == {"starts_at_local": TEN}
    assert made["preferences"] == [{"starts_at_local": ELEVEN}]
    assert (made["status"], made["customer_ref"], made["units"]) == ("pending", "ann", 2)
    assert (made["payment_method"], made["join_waitlist"], made["attempts"]) == ("pay_now", True, [])
    assert datetime.fromisoformat(made["opens_at"]) == datetime.fromisoformat(f"{LATER}T08:00+00:00") - WEEK
    read = await frontend.get(answer.headers["location"])
    assert (read.status_code, read.json()) == (200, made)
    assert_declared(read, ONE)


async def test_giving_up_twice_is_once(frontend: httpx2.AsyncClient, pitch: UUID) -> None:
    location = (await prebook(frontend, pitch)).headers["location"]

    first, again = [await frontend.post(f"{location}/cancel", json={"reason": "rain"}) for _ in range(2)]

    assert (first.status_code, first.json()["status"], first.json()["version"]) == (200, "cancelled", 2)
    assert again.json() == first.json()
    assert_declared(first, ONE + "/cancel")


async def test_what_has_fired_is_not_given_up(
    frontend: httpx2.AsyncClient, conn: asyncpg.Connection, pitch: UUID
) -> None:
    location = (await prebook(frontend, pitch)).headers["location"]
    await conn.execute("UPDATE prebookings SET status = 'failed', reason = 'slot_full'")

    answer = await frontend.post(f"{location}/cancel", json={})

    problem = assert_problem(answer, 409, "invalid_transition")
    assert (problem["from"], problem["to"]) == ("failed", "cancelled")
    assert_declared(answer, ONE + "/cancel", extra=True)


async def test_one_that_there_is_not_is_not_found(frontend: httpx2.AsyncClient) -> None:
    read = await frontend.get(f"{PATH}/{NOBODY}")
    assert_problem(read, 404, "prebooking_not_found")
    assert_declared(read, ONE, extra=True)
    assert_problem(await frontend.post(f"{PATH}/{NOBODY}/cancel", json={}), 404, "prebooking_not_found")
    assert_problem(await frontend.get(f"{PATH}/x"), 422, "validation")


# Once


async def test_a_repeated_request_is_answered_as_the_first(frontend: httpx2.AsyncClient, pitch: UUID) -> None:
    first, again = [await prebook(frontend, pitch, key="k-1") for _ in range(2)]

    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    conflict = await prebook(frontend, pitch, "ann", ELEVEN, key="k-1")
    assert_problem(conflict, 422, "idempotency_conflict")
    assert_declared(conflict, PATH, extra=True)
    assert await ids(frontend) == [first.json()["id"]]


async def test_the_same_customer_has_one_chance_at_a_target(frontend: httpx2.AsyncClient, pitch: UUID) -> None:
    await prebook(frontend, pitch)

    answer = await prebook(frontend, pitch)

    assert_problem(answer, 409, "already_prebooked")
    assert_declared(answer, PATH, extra=True)


# Lists


async def test_lists_are_filtered_and_paged(
    frontend: httpx2.AsyncClient, conn: asyncpg.Connection, make: Factory, pitch: UUID
) -> None:
    other = await make.resource()
    made = [
        (await prebook(frontend, *given)).json()["id"] for given in ((pitch, "ann"), (pitch, "ben"), (other, "ann"))
    ]
    await frontend.post(f"{PATH}/{made[1]}/cancel", json={})
    await conn.execute("UPDATE prebookings SET needs_attention = true WHERE id = $1", UUID(made[2]))

    assert await ids(frontend) == made
    assert await ids(frontend, resource_id=str(pitch)) == made[:2]
    assert await ids(frontend, customer_ref="ann") == [made[0], made[2]]
    assert await ids(frontend, status="cancelled") == [made[1]]
    assert await ids(frontend, needs_attention="true") == [made[2]]
    assert await ids(frontend, provider="nobody") == []

    page = (await frontend.get(PATH, params={"limit": 2})).json()
    assert [item["id"] for item in page["items"]] == made[:2]
    rest = (await frontend.get(PATH, params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert ([item["id"] for item in rest["items"]], rest["next_cursor"]) == (made[2:], None)


@pytest.mark.parametrize("query", ["status=lost", "limit=0", "limit=201", "resource_id=x", "needs_attention=so", "x=1"])
async def test_a_list_that_makes_no_sense_is_refused(frontend: httpx2.AsyncClient, query: str) -> None:
    answer = await frontend.get(f"{PATH}?{query}")

    assert_problem(answer, 422, "validation")
    assert_declared(answer, PATH, extra=True)


# Whose they are


async def test_a_customer_makes_sees_and_gives_up_own_ones_alone(customers: Customers, pitch: UUID) -> None:
    ann, ben = customers["ann"], customers["ben"]
    made = await prebook(ann, pitch, None)
    assert (made.status_code, made.json()["customer_ref"]) == (201, "ann")
    location = made.headers["location"]

    assert_problem(await ben.get(location), 404, "prebooking_not_found")
    assert_problem(await ben.post(f"{location}/cancel", json={}), 404, "prebooking_not_found")
    assert await ids(ben, customer_ref="ann") == []
    assert await ids(ann) == [made.json()["id"]]
    assert_problem(await prebook(ben, pitch, "ann"), 403, "forbidden")
    assert (await ann.post(f"{location}/cancel", json={})).status_code == 200


async def test_without_a_token_nothing_is_told(public: httpx2.AsyncClient) -> None:
    assert_problem(await public.get(PATH), 401, "unauthorized")


# What makes no sense


@pytest.mark.parametrize(
    "change",
    [
        {"resource_id": None},
        {"provider": "club"},
        {"target": None},
        {"target": {}},
        {"target": {"starts_at_local": "tomorrow"}},
        {"target": {"starts_at_local": "2030-02-30T10:00"}},
        {"target": {"starts_at_local": "2030-02-10T24:00"}},
        {"target": {"starts_at_local": "2030-02-10T10:00Z"}},
        {"target": {"starts_at_local": TEN, "court": 3}},
        {"preferences": [{"date": "2030-02-10"}]},
        {"preferences": [{"starts_at_local": ELEVEN}] * 10},
        {"opens_at": "2030-06-03T08:00:00Z"},
        {"units": 0},
        {"payment_method": "barter"},
        {"join_waitlist": "perhaps"},
        {"customer": None},
        {"unknown": 1},
    ],
    ids=json.dumps,
)
async def test_a_body_that_makes_no_sense_is_refused(
    frontend: httpx2.AsyncClient, pitch: UUID, change: dict[str, Any]
) -> None:
    answer = await frontend.post(PATH, json=body_of(pitch) | change)

    assert_problem(answer, 422, "validation")
    assert_declared(answer, PATH, extra=True)
    assert await ids(frontend) == []


async def test_a_target_that_cannot_be_is_refused(frontend: httpx2.AsyncClient, pitch: UUID) -> None:
    answer = await prebook(frontend, pitch, "ann", "2020-06-10T10:00")

    problem = assert_problem(answer, 422, "invalid_target")
    assert problem["target"] == {"starts_at_local": "2020-06-10T10:00"}
    assert_declared(answer, PATH, extra=True)


async def test_a_resource_that_there_is_not_is_refused(frontend: httpx2.AsyncClient) -> None:
    answer = await prebook(frontend, NOBODY)

    assert_problem(answer, 404, "resource_not_found")
    assert_declared(answer, PATH, extra=True)


# At a provider


THERE = {"provider": "club", "target": {"date": str(LATER)}, "customer": {"ref": "ann"}}


async def test_a_provider_needs_credentials_and_these_need_keys(
    frontend: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    await put_provider(conn)

    answer = await frontend.post(PATH, json=THERE)

    assert_problem(answer, 503, "encryption_unavailable")
    assert_declared(answer, PATH, extra=True)
    assert await ids(frontend) == []


@pytest.mark.parametrize("change", [{"units": 2}, {"payment_method": "pay_now"}, {"join_waitlist": True}])
async def test_what_a_provider_does_not_know_is_refused(
    frontend: httpx2.AsyncClient, conn: asyncpg.Connection, change: dict[str, Any]
) -> None:
    await put_provider(conn)

    assert_problem(await frontend.post(PATH, json=THERE | change), 422, "validation")


# As it opens


async def test_a_worker_books_at_once_what_is_open(
    frontend: httpx2.AsyncClient,
    conn: asyncpg.Connection,
    database: Database,
    settings: Settings,
    make: Factory,
) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id, starts_at=datetime.fromisoformat(f"{TEN}+00:00"))

    async with at_work(database, settings, run_openings(database)):
        await until_asleep(conn)
        made = await prebook(frontend, resource_id)
        await until(conn, "(SELECT status FROM prebookings) <> 'pending'")

    ended = (await frontend.get(made.headers["location"])).json()
    assert (ended["status"], ended["booked_target"]) == ("succeeded", {"starts_at_local": TEN})
    assert 0 <= ended["lateness_ms"] < SOON_ENOUGH_MS
    booking = (await frontend.get(f"/v1/bookings/{ended['booking_id']}")).json()
    assert (booking["status"], booking["metadata"]) == ("confirmed", {"prebooking_id": ended["id"]})


async def test_a_worker_books_as_it_opens(
    frontend: httpx2.AsyncClient,
    conn: asyncpg.Connection,
    database: Database,
    settings: Settings,
    make: Factory,
) -> None:
    resource_id = await make.resource()
    async with at_work(database, settings, run_openings(database)):
        await until_asleep(conn)
        opens_at = datetime.now(UTC) + timedelta(seconds=1)
        rules = RULES | {"opens_at_local": opens_at.time().isoformat()}
        await put_schedule(conn, resource_id, **rules)

        made = await prebook(frontend, resource_id, "ann", f"{(opens_at + WEEK).date()}T10:00")
        assert datetime.fromisoformat(made.json()["opens_at"]) == opens_at
        await until(conn, "(SELECT status FROM prebookings) <> 'pending'")

    ended = (await frontend.get(made.headers["location"])).json()
    assert ended["status"] == "succeeded"
    assert datetime.fromisoformat(ended["fired_at"]) >= opens_at
    assert 0 <= ended["lateness_ms"] < SOON_ENOUGH_MS


async def test_a_change_of_rules_that_opens_it_is_noticed(
    admin: httpx2.AsyncClient,
    conn: asyncpg.Connection,
    database: Database,
    settings: Settings,
    pitch: UUID,
) -> None:
    made = await prebook(admin, pitch)
    rules = (await admin.get(f"/v1/resources/{pitch}/schedule")).json()
    given = {name: value for name, value in rules.items() if name in {*RULES, "max_bookings"}}

    async with at_work(database, settings, run_openings(database)):
        await until_asleep(conn)
        answer = await admin.put(f"/v1/resources/{pitch}/schedule", json=given | {"booking_window_days": None})
        assert answer.status_code == 200
        await until(conn, "(SELECT status FROM prebookings) <> 'pending'")

    ended = (await admin.get(made.headers["location"])).json()
    assert (ended["status"], ended["booked_target"]) == ("succeeded", {"starts_at_local": TEN})
    assert ended["lateness_ms"] < SOON_ENOUGH_MS
