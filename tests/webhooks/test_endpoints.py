"""/v1/webhook-endpoints and /v1/deliveries: what an admin sends and sees."""

from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from app.main import create_app
from app.settings import Settings
from tests.api.calls import assert_problem
from tests.conftest import client_of
from tests.contracts.test_responses import assert_declared
from tests.factories import Factory, make_api_key
from tests.sql.support import one

URL = "https://example.com/hook"
ONE = "/v1/webhook-endpoints/{endpoint_id}"


async def create(admin: httpx2.AsyncClient, **body: Any) -> httpx2.Response:
    return await admin.post("/v1/webhook-endpoints", json={"url": URL} | body)


async def test_the_secret_is_shown_once_and_stored_where_nobody_reads_it(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    made = await create(admin, description="ours")

    assert made.status_code == 201
    endpoint, secret = made.json()["endpoint"], made.json()["secret"]
    assert secret.startswith("whsec_")
    assert made.headers["location"] == f"/v1/webhook-endpoints/{endpoint['id']}"
    assert (endpoint["url"], endpoint["event_types"], endpoint["description"]) == (URL, None, "ours")
    read, listed = await admin.get(made.headers["location"]), await admin.get("/v1/webhook-endpoints")
    assert (read.json(), listed.json()) == (endpoint, {"items": [endpoint]})
    assert read.headers["etag"] == '"1"'
    rotated = (await admin.post(f"{made.headers['location']}/rotate-secret")).json()
    everything = await conn.fetchval(
        """SELECT string_agg(t::text, '') FROM (
          SELECT to_jsonb(a)::text FROM audit_log a UNION ALL SELECT to_jsonb(e)::text FROM webhook_endpoints e
          UNION ALL SELECT to_jsonb(s)::text FROM webhook_secrets s
        ) x (t)"""
    )
    trail = await conn.fetchval("SELECT string_agg(to_jsonb(a)::text, '') FROM audit_log a")
    for told in (secret, rotated["secret"]):
        assert told.removeprefix("whsec_") not in everything
    assert "webhook_endpoint.created" in trail
    assert URL not in trail


async def test_without_keys_none_is_made(settings: Settings, conn: asyncpg.Connection) -> None:
    app = create_app(settings.model_copy(update={"encryption_keys": None}))
    async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "admin")) as admin:
        assert_problem(await create(admin), 503, "encryption_unavailable")
        assert_problem(
            await admin.post(f"/v1/webhook-endpoints/{uuid4()}/rotate-secret"), 503, "encryption_unavailable"
        )

    assert await one(conn, "SELECT count(*) FROM webhook_endpoints") == (0,)


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://example.com/"},
        {"url": "example.com"},
        {"url": "https://me:secret@example.com/"},
        {"url": "https://example.com/#there"},
        {"url": "https://example.com/" + "a" * 2000},
        {"url": None},
        {"event_types": []},
        {"event_types": ["booking.eaten"]},
        {"secret": "whsec_mine"},
    ],
)
async def test_what_is_no_endpoint_is_refused(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection, body: dict[str, Any]
) -> None:
    assert_problem(await create(admin, **body), 422, "validation")

    assert await one(conn, "SELECT count(*) FROM webhook_endpoints") == (0,)


async def test_a_change_takes_the_version_and_leaves_the_rest(admin: httpx2.AsyncClient) -> None:
    url = (await create(admin, event_types=["slot.full"], description="a")).headers["location"]

    changed = await admin.patch(url, json={"event_types": None}, headers={"If-Match": '"1"'})
    assert (changed.json()["event_types"], changed.json()["description"], changed.json()["version"]) == (None, "a", 2)
    assert_problem(await admin.patch(url, json={}, headers={"If-Match": '"1"'}), 412, "version_conflict")
    assert_problem(await admin.patch(url, json={}), 428, "precondition_required")
    for body in ({"url": None}, {"is_enabled": None}, {"version": 7}):
        assert_problem(await admin.patch(url, json=body, headers={"If-Match": '"2"'}), 422, "validation")


async def test_a_disabled_one_stays_on_record_and_can_be_enabled_again(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    url = (await create(admin)).headers["location"]
    await conn.execute("UPDATE webhook_endpoints SET failing_since = now()")

    disabled = await admin.delete(url)
    again = await admin.delete(url)
    replay = {"from": "2030-01-01T00:00:00Z", "to": "2030-01-02T00:00:00Z"}
    refused = assert_problem(await admin.post(f"{url}/replay", json=replay), 409, "webhook_endpoint_disabled")
    enabled = await admin.patch(url, json={"is_enabled": True}, headers={"If-Match": disabled.headers["etag"]})

    assert disabled.json() == again.json()
    assert (disabled.json()["is_enabled"], disabled.json()["disabled_reason"]) == (False, "by_hand")
    assert refused["disabled_reason"] == "by_hand"
    state = enabled.json()
    assert (state["is_enabled"], state["disabled_reason"], state["failing_since"]) == (True, None, None)
    assert (await admin.post(f"{url}/replay", json=replay)).json() == {"replayed": 0, "next_from": None}


async def test_what_there_is_not_is_said_so(admin: httpx2.AsyncClient) -> None:
    url, code = f"/v1/webhook-endpoints/{uuid4()}", "webhook_endpoint_not_found"
    replay = {"from": "2030-01-01T00:00:00Z", "to": "2030-01-02T00:00:00Z"}
    for answer in (
        await admin.get(url),
        await admin.patch(url, json={}, headers={"If-Match": '"1"'}),
        await admin.delete(url),
        await admin.post(f"{url}/test"),
        await admin.post(f"{url}/rotate-secret"),
        await admin.post(f"{url}/replay", json=replay),
    ):
        assert_problem(answer, 404, code)
    assert_problem(await admin.get(f"/v1/deliveries/{uuid4()}"), 404, "delivery_not_found")
    assert_problem(await admin.post(f"/v1/deliveries/{uuid4()}/replay"), 404, "delivery_not_found")


async def test_deliveries_are_listed_by_page_and_filter(admin: httpx2.AsyncClient, make: Factory) -> None:
    first, second = [(await create(admin)).json()["endpoint"]["id"] for _ in range(2)]
    for _ in range(3):
        await make.booking()
    listed = "/v1/deliveries"

    everything = (await admin.get(listed)).json()["items"]
    filters = {"endpoint_id": first, "event_type": "booking.created", "status": "pending"}
    page = (await admin.get(listed, params={**filters, "limit": 2})).json()
    rest = (await admin.get(listed, params={**filters, "limit": 2, "cursor": page["next_cursor"]})).json()

    assert {item["endpoint_id"] for item in everything} == {first, second}
    # each booking fills its slot
    assert len(everything) == 12
    wanted = [i for i in everything if i["endpoint_id"] == first and i["event_type"] == "booking.created"]
    assert page["items"] + rest["items"] == wanted
    assert rest["next_cursor"] is None
    assert (await admin.get(listed, params={"status": "failed"})).json()["items"] == []


async def test_every_answer_is_as_declared(admin: httpx2.AsyncClient, make: Factory) -> None:
    made = await create(admin)
    url = made.headers["location"]
    assert_declared(made, "/v1/webhook-endpoints")
    await make.booking()
    tested = await admin.post(f"{url}/test")
    assert_declared(tested, f"{ONE}/test")
    assert_declared(await admin.get(url), ONE)
    assert_declared(await admin.get("/v1/webhook-endpoints"), "/v1/webhook-endpoints")
    assert_declared(await admin.post(f"{url}/rotate-secret"), f"{ONE}/rotate-secret")
    replay = {"from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    assert_declared(await admin.post(f"{url}/replay", json=replay), f"{ONE}/replay")
    assert_declared(await admin.get("/v1/deliveries"), "/v1/deliveries")
    delivery = f"/v1/deliveries/{tested.json()['id']}"
    assert_declared(await admin.get(delivery), "/v1/deliveries/{delivery_id}")
    assert_declared(await admin.post(f"{delivery}/replay"), "/v1/deliveries/{delivery_id}/replay")
    assert_declared(await admin.patch(url, json={}, headers={"If-Match": '"1"'}), ONE)
    assert_declared(await admin.delete(url), ONE)
