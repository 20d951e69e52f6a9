"""/v1/providers: set up with an adapter's consent, read back, and refused with words."""

from typing import Any

import asyncpg
import httpx2
import pytest

from app.adapters.registry import find_adapter
from tests.api.calls import assert_problem
from tests.contracts.test_responses import assert_declared
from tests.credentials.club import ClubAdapter
from tests.sql.support import one

PATH = "/v1/providers/gametime"
CLUB = {"adapter": "club", "settings": {"url": "http://127.0.0.1:1/"}, "timezone": "Europe/Athens"}


async def put(client: httpx2.AsyncClient, path: str = PATH, **changes: Any) -> httpx2.Response:
    return await client.put(path, json=CLUB | changes)


async def test_a_provider_is_put_and_read(admin: httpx2.AsyncClient) -> None:
    answer = await put(admin, booking_window_days=7, opens_at_local="08:00", max_running=3)

    assert answer.status_code == 200, answer.text
    assert_declared(answer, "/v1/providers/{name}")
    provider = answer.json()
    assert (provider["name"], provider["queue"], provider["stagger_ms"]) == ("gametime", "provider:gametime", 50)
    assert (provider["booking_window_days"], provider["opens_at_local"], provider["max_running"]) == (7, "08:00", 3)
    assert (await admin.get(PATH)).json() == provider
    listed = await admin.get("/v1/providers")
    assert_declared(listed, "/v1/providers")
    assert listed.json() == {"items": [provider]}


async def test_its_queue_is_a_queue_like_any_other(admin: httpx2.AsyncClient) -> None:
    await put(admin)

    paused = await admin.post("/v1/job-queues/provider:gametime/pause", json={"reason": "their site moves"})

    assert (paused.status_code, paused.json()["paused"], paused.json()["stagger_ms"]) == (200, True, 50)


async def test_a_provider_that_nobody_put_is_not_found(admin: httpx2.AsyncClient) -> None:
    assert_problem(await admin.get(PATH), 404, "provider_not_found")


async def test_the_adapter_says_what_is_wrong_with_its_settings(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    problem = assert_problem(await put(admin, settings={"ulr": "x"}), 422, "validation")

    assert problem["errors"] == [{"field": "body.settings", "message": "settings need a url"}]
    assert await one(conn, "SELECT count(*) FROM providers") == (0,)


async def test_an_adapter_that_is_not_installed_is_named(admin: httpx2.AsyncClient) -> None:
    problem = assert_problem(await put(admin, adapter="tennis"), 422, "validation")

    (error,) = problem["errors"]
    assert error["field"] == "body.adapter"
    assert error["message"].startswith("the adapter 'tennis' is not installed")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timezone", "Mars/Olympus"),
        ("booking_window_days", -1),
        ("booking_window_days", 401),
        ("opens_at_local", "24:00"),
        ("opens_at_local", "8:00"),
        ("stagger_ms", 60_001),
        ("max_running", 0),
        ("settings", []),
        ("adapter", ""),
        ("password", "x"),
    ],
)
async def test_a_rule_out_of_its_bounds_is_refused_by_name(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection, field: str, value: object
) -> None:
    problem = assert_problem(await admin.put(PATH, json=CLUB | {field: value}), 422, "validation")

    assert [error["field"] for error in problem["errors"]] == [f"body.{field}"]
    assert await one(conn, "SELECT (SELECT count(*) FROM providers), (SELECT count(*) FROM job_queues)") == (0, 0)


@pytest.mark.parametrize("name", ["A", "-a", "a:b", "a.b", "a" * 64, "%C3%A9", "a%0A"])
async def test_a_name_that_is_not_plain_is_refused(admin: httpx2.AsyncClient, name: str) -> None:
    assert_problem(await put(admin, f"/v1/providers/{name}"), 422, "validation")


def test_an_adapter_is_found_in_whichever_package_offers_it() -> None:
    assert find_adapter("club") is ClubAdapter
    with pytest.raises(ValueError, match="tennis"):
        find_adapter("tennis")
