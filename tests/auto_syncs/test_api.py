"""Crews and auto-syncs over HTTP: what a frontend and its customers may do."""

from datetime import timedelta
from typing import Any

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from tests.api.calls import assert_problem
from tests.conftest import client_of
from tests.contracts.test_responses import assert_declared
from tests.factories import HOUR, TOMORROW, Factory
from tests.sql.support import one
from tests.unit.test_tokens import SECRET, signed

NOWHERE = "00000000-0000-0000-0000-000000000000"
TIMES = [
    {"starts_at": (TOMORROW + n * HOUR).isoformat(), "ends_at": (TOMORROW + (n + 1) * HOUR).isoformat()}
    for n in range(2)
]


def customer(app: FastAPI, ref: str) -> httpx2.AsyncClient:
    """A customer with a token of their own."""
    return client_of(app, signed(SECRET, sub=ref))


async def make_crew(frontend: httpx2.AsyncClient, *members: str) -> str:
    """The address of a crew that `org` organizes."""
    made = await frontend.post("/v1/crews", json={"name": "Football", "organizer": {"ref": "org", "name": "Org"}})
    assert_declared(made, "/v1/crews")
    url = str(made.headers["location"])
    for ref in members:
        body = {"ref": ref, "name": ref.title(), "email": f"{ref}@example.com", "timezone": "Europe/Athens"}
        joined = await frontend.post(f"{url}/members", json=body)
        assert joined.status_code == 201, joined.text
        assert_declared(joined, "/v1/crews/{crew_id}/members")
    return url


def asked(crew_url: str, **overrides: Any) -> dict[str, Any]:
    return {
        "crew_id": crew_url.rpartition("/")[2],
        "event_name": "Five-a-side",
        "timezone": "Europe/Athens",
    } | overrides


async def ask(client: httpx2.AsyncClient, crew_url: str, **overrides: Any) -> Any:
    answer = await client.post("/v1/auto-syncs", json=asked(crew_url, **overrides))
    assert answer.status_code == 201, answer.text
    assert_declared(answer, "/v1/auto-syncs")
    return answer.json()


async def test_a_crew_has_members_who_come_and_go(frontend: httpx2.AsyncClient) -> None:
    url = await make_crew(frontend, "ann", "bob", "eve")

    assert (await frontend.get(url)).json()["members"] == 3
    first = (await frontend.get(f"{url}/members?limit=2")).json()
    rest = (await frontend.get(f"{url}/members?limit=2&cursor={first['next_cursor']}")).json()
    assert [m["customer_ref"] for page in (first, rest) for m in page["items"]] == ["ann", "bob", "eve"]
    assert "@" not in str(first)

    gone = await frontend.delete(f"{url}/members/{first['items'][0]['id']}")
    assert_declared(gone, "/v1/crews/{crew_id}/members/{member_id}")
    assert gone.json()["left_at"] is not None
    assert (await frontend.get(url)).json()["members"] == 2
    assert_problem(await frontend.delete(f"{url}/members/{NOWHERE}"), 404, "crew_member_not_found")
    for path in ("", "/members"):
        assert_problem(await frontend.get(f"/v1/crews/{NOWHERE}{path}"), 404, "crew_not_found")


async def test_who_is_added_is_a_customer_with_preferences(frontend: httpx2.AsyncClient) -> None:
    url = await make_crew(frontend, "ann")
    await frontend.post(f"{url}/members", json={"ref": "ann", "language": "el"})

    preferences = (await frontend.get("/v1/customers/ann/preferences")).json()
    assert (preferences["language"], preferences["timezone"]) == ("el", "Europe/Athens")
    for bad in ({}, {"language": "el"}, {"ref": "x", "timezone": "Nowhere"}):
        assert_problem(await frontend.post(f"{url}/members", json=bad), 422, "validation")


@pytest.mark.parametrize("goal", ["everyone", 2, {"share": 0.5}, {"customer_refs": ["ann"]}])
async def test_a_goal_is_answered_as_it_was_given(frontend: httpx2.AsyncClient, goal: Any) -> None:
    url = await make_crew(frontend, "ann", "bob")

    sync = await ask(frontend, url, response_goal=goal, times=TIMES)

    assert sync["response_goal"] == goal
    assert (sync["status"], sync["reminder_after"], sync["pause_after"]) == ("running", 86_400, 172_800)
    assert [t["starts_at"] for t in sync["times"]] == [t["starts_at"] for t in TIMES]


@pytest.mark.parametrize(
    "bad",
    [
        {"response_goal": "nobody"},
        {"response_goal": 0},
        {"response_goal": True},
        {"response_goal": {"share": 1.5}},
        {"response_goal": {"customer_refs": []}},
        {"timezone": "Nowhere"},
        {"reminder_after": 0},
        {"reminder_after": 60, "pause_after": 60},
        {"times": [{"starts_at": TIMES[0]["ends_at"], "ends_at": TIMES[0]["starts_at"]}]},
        {"times": [{"slot_id": NOWHERE}]},
        {"times": [{}]},
        {"times": TIMES, "resource_id": NOWHERE},
        {"times": TIMES * 11},
        {"event_name": ""},
        {"status": "running"},
    ],
)
async def test_what_is_not_as_described_is_refused(frontend: httpx2.AsyncClient, bad: dict[str, Any]) -> None:
    url = await make_crew(frontend)

    assert_problem(await frontend.post("/v1/auto-syncs", json=asked(url, **bad)), 422, "validation")


async def test_what_is_not_there_is_refused(frontend: httpx2.AsyncClient) -> None:
    url = await make_crew(frontend, "ann")
    for given, status, code in (
        ({"crew_id": NOWHERE}, 404, "crew_not_found"),
        ({"response_goal": {"customer_refs": ["bob"]}}, 404, "crew_member_not_found"),
        ({"resource_id": NOWHERE}, 404, "resource_not_found"),
        ({"times": [{"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2020-01-01T01:00:00Z"}]}, 422, "invalid_times"),
    ):
        assert_problem(await frontend.post("/v1/auto-syncs", json=asked(url, **given)), status, code)


async def test_the_same_key_asks_once(frontend: httpx2.AsyncClient) -> None:
    url = await make_crew(frontend, "ann")
    headers = {"Idempotency-Key": "once"}
    first, again = [await frontend.post("/v1/auto-syncs", json=asked(url), headers=headers) for _ in range(2)]

    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len((await frontend.get("/v1/auto-syncs")).json()["items"]) == 1


async def test_the_answer_that_meets_the_goal_books(
    app: FastAPI, frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    slots = [await make.slot(resource_id) for _ in range(2)]
    url = await make_crew(frontend, "ann", "bob")
    times = [{"slot_id": str(slot_id)} for slot_id in slots]
    sync = await ask(frontend, url, resource_id=str(resource_id), times=times)
    path = f"/v1/auto-syncs/{sync['id']}/responses"
    second = sync["times"][1]["id"]

    async with customer(app, "ann") as ann:
        mine = await ann.post(path, json={"answer": "accepted", "times": [second]})
        assert_declared(mine, "/v1/auto-syncs/{auto_sync_id}/responses")
        assert_problem(await ann.post(path, json={"answer": "declined", "customer_ref": "bob"}), 403, "forbidden")
    assert_problem(await frontend.post(path, json={"answer": "declined"}), 422, "validation")
    for bad in ({"answer": "maybe"}, {"answer": "declined", "times": [second]}):
        assert_problem(await frontend.post(path, json=bad | {"customer_ref": "bob"}), 422, "validation")
    for times_chosen in ([], [NOWHERE]):
        body = {"answer": "accepted", "times": times_chosen, "customer_ref": "bob"}
        assert_problem(await frontend.post(path, json=body), 422, "invalid_times")
    done = (await frontend.post(path, json={"answer": "declined", "customer_ref": "bob"})).json()

    assert (done["status"], done["winning_time_id"], done["answered"]) == ("completed", second, 2)
    assert await conn.fetchval("SELECT slot_id FROM bookings WHERE id = $1::text::uuid", done["booking_id"]) == slots[1]
    assert_problem(await frontend.post(path, json={"answer": "declined", "customer_ref": "bob"}), 409, "auto_sync_over")
    assert_problem(await frontend.post(f"/v1/auto-syncs/{sync['id']}/cancel"), 409, "invalid_transition")


async def test_it_is_paused_resumed_and_cancelled(frontend: httpx2.AsyncClient) -> None:
    sync = await ask(frontend, await make_crew(frontend, "ann"))
    path = f"/v1/auto-syncs/{sync['id']}"
    for verb, status in (("pause", "paused"), ("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        answer = await frontend.post(f"{path}/{verb}", json={"reason": "rain"})
        assert_declared(answer, f"/v1/auto-syncs/{{auto_sync_id}}/{verb}")
        assert answer.json()["status"] == status

    assert_problem(await frontend.post(f"{path}/resume"), 409, "invalid_transition")
    assert_problem(await frontend.post(f"/v1/auto-syncs/{NOWHERE}/pause"), 404, "auto_sync_not_found")


async def test_members_see_their_own_crews_and_only_the_organizer_steers(
    app: FastAPI, frontend: httpx2.AsyncClient
) -> None:
    url = await make_crew(frontend, "ann")
    sync = await ask(frontend, url)
    path = f"/v1/auto-syncs/{sync['id']}"

    async with customer(app, "org") as org, customer(app, "ann") as ann, customer(app, "bob") as bob:
        for client in (org, ann):
            assert (await client.get(path)).json()["id"] == sync["id"]
            listed = await client.get("/v1/auto-syncs?status=running")
            assert_declared(listed, "/v1/auto-syncs")
            assert [s["id"] for s in listed.json()["items"]] == [sync["id"]]
            assert len((await client.get("/v1/crews")).json()["items"]) == 1
        for verb in ("pause", "resume", "cancel"):
            for client in (ann, bob):
                assert_problem(await client.post(f"{path}/{verb}"), 404, "auto_sync_not_found")
        assert_problem(await bob.get(path), 404, "auto_sync_not_found")
        assert_problem(await bob.post(f"{path}/responses", json={"answer": "declined"}), 404, "auto_sync_not_found")
        assert_problem(await bob.get(url), 404, "crew_not_found")
        assert_problem(await bob.get(f"{url}/members"), 404, "crew_not_found")
        for listing in ("/v1/crews", "/v1/auto-syncs", "/v1/auto-syncs?customer_ref=ann"):
            assert (await bob.get(listing)).json()["items"] == []
        for client in (ann, bob):
            assert_problem(await client.post("/v1/auto-syncs", json=asked(url)), 404, "crew_not_found")
        assert (await org.post(f"{path}/pause")).json()["status"] == "paused"
        assert (await org.post("/v1/auto-syncs", json=asked(url))).status_code == 201


async def test_a_member_may_go_and_sends_nobody_else(app: FastAPI, frontend: httpx2.AsyncClient) -> None:
    url = await make_crew(frontend, "ann", "bob")
    ids = {m["customer_ref"]: m["id"] for m in (await frontend.get(f"{url}/members")).json()["items"]}

    async with customer(app, "ann") as ann:
        assert_problem(await ann.delete(f"{url}/members/{ids['bob']}"), 404, "crew_not_found")
        assert (await ann.delete(f"{url}/members/{ids['ann']}")).status_code == 200
        assert_problem(await ann.get(url), 404, "crew_not_found")
    async with customer(app, "org") as org:
        assert (await org.delete(f"{url}/members/{ids['bob']}")).status_code == 200


async def test_lists_come_in_pages(frontend: httpx2.AsyncClient) -> None:
    url = await make_crew(frontend, "ann")
    made = [(await ask(frontend, url))["id"] for _ in range(3)]
    await make_crew(frontend)

    for path, count in ((f"/v1/auto-syncs?crew_id={url.rpartition('/')[2]}", 3), ("/v1/crews?customer_ref=org", 2)):
        pages, cursor = [], ""
        while cursor is not None:
            page = (await frontend.get(f"{path}&limit=1&cursor={cursor}" if cursor else f"{path}&limit=1")).json()
            pages += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert len(pages) == len(set(pages)) == count
    assert [s["id"] for s in (await frontend.get("/v1/auto-syncs")).json()["items"]] == made


async def test_what_happens_is_told_as_events(app: FastAPI, frontend: httpx2.AsyncClient) -> None:
    sync = await ask(frontend, await make_crew(frontend, "ann"))
    begin = (await frontend.get("/v1/events/page")).json()["next_cursor"]
    path = f"/v1/auto-syncs/{sync['id']}"
    await frontend.post(f"{path}/pause")
    await frontend.post(f"{path}/resume")
    await frontend.post(f"{path}/responses", json={"answer": "declined", "customer_ref": "ann"})

    told = (await frontend.get(f"/v1/events/page?after={begin}")).json()["items"]
    assert [event["type"] for event in told] == [
        "auto_sync.paused",
        "auto_sync.resumed",
        "auto_sync.responded",
        "auto_sync.completed",
    ]
    assert [event["sequence"] for event in told] == [2, 3, 4, 5]
    assert told[-1]["data"]["status"] == "completed"
    async with customer(app, "org") as org, customer(app, "ann") as ann:
        assert len((await org.get(f"/v1/events/page?after={begin}")).json()["items"]) == 4
        assert (await ann.get(f"/v1/events/page?after={begin}")).json()["items"] == []


async def test_durations_are_seconds(frontend: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    url = await make_crew(frontend, "ann")
    sync = await ask(frontend, url, reminder_after=300, pause_after=600)

    assert (sync["reminder_after"], sync["pause_after"]) == (300, 600)
    due = "SELECT run_at - scheduled_at, run_at - created_at FROM jobs WHERE job_type = 'auto_sync_reminder'"
    assert await one(conn, due) == (timedelta(0), timedelta(minutes=5))
