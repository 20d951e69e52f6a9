"""/v1/events: what happens is told to who follows, and to who asks."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx2
import jwt
import pytest

from app.database import Database
from app.events import hub as hub_module
from app.events.hub import Follower, Hub, open_hub
from app.events.queries import Told, Wanted, read_events
from app.security import SHOWN_PREFIX_LENGTH
from tests.api.calls import assert_problem, book, cancel
from tests.api.test_jobs import until_logged
from tests.concurrency.rivals import begin
from tests.factories import ACTOR, Factory, make_api_key
from tests.live import LiveServer, live_server
from tests.sse import Subscriber, frames

JWT_SECRET = "a-secret-for-tests-that-is-long-enough"  # noqa: S105
PATIENCE_SECONDS = 20


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def page(client: httpx2.AsyncClient, **params: Any) -> Any:
    answer = await client.get("/v1/events/page", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_who_asks_is_told_what_has_come_since(admin: httpx2.AsyncClient, make: Factory) -> None:
    begun = await page(admin)
    booking = (await book(admin, await make.slot(max_bookings=2))).json()

    news = await page(admin, after=begun["next_cursor"])

    assert (begun["items"], begun["has_more"]) == ([], False)
    ((event,), has_more) = news["items"], news["has_more"]
    assert (event["type"], event["data"], has_more) == ("booking.created", booking, False)
    assert (await page(admin, after=news["next_cursor"]))["items"] == []


async def test_pages_follow_each_other(frontend: httpx2.AsyncClient, make: Factory) -> None:
    cursor, has_more, items = (await page(frontend))["next_cursor"], True, []
    for _ in range(3):
        await cancel(frontend, await make.booking())
    while has_more:
        answer = await page(frontend, after=cursor, limit=2, types="booking.created,booking.cancelled")
        cursor, has_more = answer["next_cursor"], answer["has_more"]
        items += answer["items"]

    assert names(items) == ["booking.created", "booking.cancelled"] * 3


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/page"])
@pytest.mark.parametrize(
    "query", ["after=garbage", "after=1:9000000000:", "after=1:1:~x", "after=%00", "types=booking.eaten", "types="]
)
async def test_what_is_no_cursor_and_no_type_is_refused(admin: httpx2.AsyncClient, path: str, query: str) -> None:
    assert_problem(await admin.get(f"{path}?{query}"), 422, "validation")


async def test_a_last_event_id_that_is_no_cursor_is_refused(admin: httpx2.AsyncClient) -> None:
    assert_problem(await admin.get("/v1/events", headers={"Last-Event-ID": "evt_1"}), 422, "validation")


@pytest.fixture
async def live(dsn: str) -> AsyncIterator[LiveServer]:
    async with live_server(dsn, JWT_SECRET=JWT_SECRET, DB_POOL_SIZE="2") as server:
        yield server


def customer_token(ref: str) -> str:
    return jwt.encode({"sub": ref, "exp": int(time.time()) + 3600}, JWT_SECRET, "HS256")


async def test_a_follower_is_told_each_change_as_it_happens_and_goes_on_where_it_stopped(
    live: LiveServer, make: Factory, conn: asyncpg.Connection
) -> None:
    async with live.client(await make_api_key(conn, "admin")) as client:
        follower, selective = Subscriber(client), Subscriber(client, types="booking.cancelled")
        for each in (follower, selective):
            await each.begin()
        (hearing,) = begin([follower.hear(2)])
        booking = (await book(client, await make.slot())).json()
        first = await hearing
        # nobody follows now
        cancelled = (await cancel(client, booking["id"])).json()

        (second,) = await follower.hear(1)
        (only,) = await selective.hear(1)

    assert names(first) == ["slot.full", "booking.created"]
    assert (first[1]["data"], second["data"]) == (booking, cancelled)
    assert only == second


async def test_a_customer_never_hears_of_another(live: LiveServer, make: Factory, conn: asyncpg.Connection) -> None:
    async with live.client(customer_token("ann")) as ann, live.client(customer_token("bob")) as bob:
        followers = [Subscriber(client) for client in (ann, bob)]
        for each in followers:
            await each.begin()
        hearing = begin(each.hear(4) for each in followers)
        for _ in range(2):
            for ref in ("ann", "bob", "cleo"):
                booking_id = await make.booking(p_customer=f'{{"ref": "{ref}"}}')
                await conn.execute("UPDATE bookings SET status = 'cancelled' WHERE id = $1", booking_id)
        await asyncio.gather(*hearing)

        for each, ref in zip(followers, ("ann", "bob"), strict=True):
            assert names(each.told) == ["booking.created", "booking.cancelled"] * 2
            assert {event["data"]["customer_ref"] for event in each.told} == {ref}


async def test_those_who_wait_hold_no_connection(live: LiveServer, make: Factory, conn: asyncpg.Connection) -> None:
    async with live.client(await make_api_key(conn, "admin")) as client:
        followers = [Subscriber(client) for _ in range(20)]
        for each in followers:
            await each.begin()
        hearing = begin(each.hear(2) for each in followers)

        # the server has two connections in all
        answer = await book(client, await make.slot())
        told = await asyncio.gather(*hearing)

    assert answer.status_code == 201
    assert all(names(events) == ["slot.full", "booking.created"] for events in told)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_is_told_to_stop_ends_its_streams_and_stops(
    dsn: str, conn: asyncpg.Connection, make: Factory, number: int
) -> None:
    key = await make_api_key(conn, "admin")
    # two processes, of which the streams' own has to hear of it
    async with live_server(dsn, workers=2) as server, server.client(key) as client:
        followers = [Subscriber(client) for _ in range(4)]
        for each in followers:
            await each.begin()
        hearing = begin(each.hear(9) for each in followers)
        await make.booking()
        await asyncio.gather(*(each.has_heard.wait() for each in followers))

        server.process.send_signal(number)

        async with asyncio.timeout(PATIENCE_SECONDS):
            heard = await asyncio.gather(*hearing)
            await until_logged(server, "Stopping parent process")
        assert "Traceback" not in server.log
    assert [names(events) for events in heard] == [["slot.full", "booking.created"]] * 4


async def test_a_key_that_is_revoked_is_told_nothing_more(
    live: LiveServer, make: Factory, conn: asyncpg.Connection
) -> None:
    key = await make_api_key(conn, "admin")
    async with live.client(key) as client, client.stream("GET", "/v1/events") as answer:
        heard = frames(answer)
        await anext(heard)
        await conn.fetchval("SELECT revoke_api_key($1, $2)", ACTOR, key[:SHOWN_PREFIX_LENGTH])
        # what the server remembers of the key is over, by its own clock
        await asyncio.sleep(2.1)
        await make.booking()

        assert [frame.event async for frame in heard if frame.event] == []


class Counting(Database):
    """Counts the calls that go through it."""

    calls = 0

    async def call(self, function: str, /, **arguments: object) -> list[asyncpg.Record]:
        self.calls += 1
        return await super().call(function, **arguments)


@pytest.fixture
async def hub(database: Database) -> AsyncIterator[Hub]:
    database.__class__ = Counting
    async with open_hub(database) as opened:
        yield opened


async def following(hub: Hub, follower: Follower, database: Database) -> AsyncIterator[Told | str]:
    batch = await read_events(database, None, follower.wanted)
    return hub.follow(follower, None, batch)


async def test_who_hears_nothing_is_told_from_time_to_time_where_to_go_on(
    hub: Hub, database: Database, make: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "HEARTBEAT", 0.01)
    with hub.follower(Wanted(customer_ref="bob")) as follower:
        steps = await following(hub, follower, database)
        first = await anext(steps)
        await make.booking()

        while (step := await anext(steps)) == first:
            pass

    assert isinstance(step, str)
    after = await read_events(database, step)
    assert after.events == []


async def test_a_slow_follower_holds_nobody_up_and_misses_nothing(
    hub: Hub, database: Database, make: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "ROOM", 3)
    with hub.follower(Wanted()) as slow_one, hub.follower(Wanted()) as quick_one:
        slow, quick = [await following(hub, f, database) for f in (slow_one, quick_one)]
        for steps in (slow, quick):
            assert isinstance(await anext(steps), str)
        heard: list[Told | str] = []
        for _ in range(10):
            await make.booking()
            heard += [await anext(quick), await anext(quick)]
        assert not slow_one.is_live

        late: list[str] = []
        while len(late) < 20:
            step = await anext(slow)
            late += [step.body] if isinstance(step, Told) else []

    assert late == [step.body for step in heard if isinstance(step, Told)]


async def test_while_nobody_follows_nothing_is_read(hub: Hub, database: Counting, make: Factory) -> None:
    with hub.follower(Wanted()) as follower:
        steps = await following(hub, follower, database)
        await anext(steps)
    await hub.wait_closed()
    calls = database.calls

    await make.booking()
    await asyncio.sleep(3 * hub_module.POLL)

    assert database.calls == calls


async def test_many_followers_cost_one_reader(hub: Hub, database: Counting, make: Factory) -> None:
    with hub.follower(Wanted()) as one, hub.follower(Wanted()) as two, hub.follower(Wanted()) as three:
        all_steps = [await following(hub, follower, database) for follower in (one, two, three)]
        for steps in all_steps:
            await anext(steps)
        calls, began_at = database.calls, time.monotonic()
        for _ in range(4):
            await make.booking()
            for steps in all_steps:
                await anext(steps)
                await anext(steps)

        assert database.calls - calls <= (time.monotonic() - began_at) / hub_module.POLL + 1


async def test_a_database_that_is_away_for_a_moment_costs_no_event(
    hub: Hub, database: Database, make: Factory, conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "BACKOFF", 0.01)
    with hub.follower(Wanted()) as follower:
        steps = await following(hub, follower, database)
        await anext(steps)
        await conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'holdfast'"
        )
        await make.booking()

        heard = [await anext(steps), await anext(steps)]

    assert [step.type for step in heard if isinstance(step, Told)] == ["slot.full", "booking.created"]
