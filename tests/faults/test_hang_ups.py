"""A caller who hangs up changes nothing: what was begun is finished."""

import asyncio
import json
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.api.calls import booking_body
from tests.concurrency.rivals import OURS, begin, held_slots, until, until_idle, until_waiting
from tests.conftest import CRON_SECRET, Connect
from tests.factories import HOUR, TOMORROW, Factory, make_api_key, make_customer
from tests.live import LiveServer, live_server


@pytest.fixture
async def live(dsn: str) -> AsyncIterator[LiveServer]:
    async with live_server(dsn) as server:
        yield server


class Caller:
    """A socket that sends a request and does not wait for the answer."""

    def __init__(self, server: LiveServer, token: str) -> None:
        self.port = int(server.url.rpartition(":")[2])
        self.token = token

    async def ask_and_hang_up(self, path: str, body: object = None, *, once: asyncio.Event | None = None) -> None:
        """Send a POST, and close the socket once the event has come."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self._request(path, body))
        await writer.drain()
        if once:
            await once.wait()
        writer.transport.abort()

    async def ask_and_hang_up_anywhere(self, body: object, chance: random.Random) -> None:
        """Want a booking; half of all hang up while they still ask, the others at any moment after."""
        request = self._request("/v1/bookings", body)
        cut = chance.randrange(1, 2 * len(request))
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request[:cut])
        await writer.drain()
        # not to wait for anything: at some moment
        await asyncio.sleep(chance.uniform(0, 0.05) if cut >= len(request) else 0)
        writer.transport.abort()

    def _request(self, path: str, body: object) -> bytes:
        content = json.dumps(body).encode() if body is not None else b""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content


async def until_noticed(server: LiveServer) -> None:
    """Return when the server, which has one event loop, has had its turn with whatever came before."""
    async with server.client() as client:
        for _ in range(3):
            assert (await client.get("/healthz")).is_success


async def test_a_booking_is_made_though_its_caller_is_gone(
    live: LiveServer, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, observer = await make.slot(), await connect()
    caller, booked = Caller(live, await make_api_key(conn, "frontend")), asyncio.Event()

    async with held_slots(conn, slot_id):
        (call,) = begin([caller.ask_and_hang_up("/v1/bookings", booking_body(slot_id), once=booked)])
        await until_waiting(observer, 1)
        booked.set()
        await call
        await until_noticed(live)

    await until(observer, "(SELECT count(*) FROM bookings WHERE status = 'confirmed') = 1")
    assert await observer.fetchval("SELECT booked_bookings FROM slots") == 1


async def test_a_run_of_the_processor_goes_on_though_its_caller_is_gone(
    live: LiveServer, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, observer = await make.slot(max_bookings=1200), await connect()
    await conn.execute(
        """INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status)
        SELECT s.resource_id, s.id, s.starts_at, s.ends_at, $1, 'confirmed' FROM slots s, generate_series(1, 1200)""",
        await make_customer(conn),
    )
    await conn.execute("UPDATE bookings SET placed_at = placed_at - interval '1 year'")
    await conn.execute("UPDATE slots SET starts_at = $1, ends_at = $2", TOMORROW - 99 * HOUR, TOMORROW - 98 * HOUR)
    caller, started = Caller(live, CRON_SECRET), asyncio.Event()

    # three batches: the first has begun when the caller goes, the others have not
    async with conn.transaction():
        await conn.execute("LOCK TABLE jobs IN EXCLUSIVE MODE")
        (call,) = begin([caller.ask_and_hang_up("/cron/process-jobs", once=started)])
        await until_waiting(observer, 1)
        started.set()
        await call
        await until_noticed(live)

    await until(
        observer, f"(SELECT count(*) FROM bookings WHERE status = 'completed' AND '{slot_id}' = slot_id) = 1200"
    )


async def test_five_hundred_callers_who_hang_up_anywhere_leave_every_connection_free(
    live: LiveServer, make: Factory, connect: Connect
) -> None:
    await hang_up_anywhere(live, make, 500, random.Random(1))  # noqa: S311 - a repeatable choice

    await assert_nothing_is_left(live, make, await connect())


async def hang_up_anywhere(live: LiveServer, make: Factory, count: int, chance: random.Random) -> None:
    """So many callers want a booking, fifty at a time, and each hangs up at some point on its way."""
    slot_id = await make.slot(max_bookings=1_000_000)
    caller = Caller(live, await make_api_key(make.conn, "frontend"))

    for _ in range(0, count, 50):
        await asyncio.gather(*(caller.ask_and_hang_up_anywhere(booking_body(slot_id), chance) for _ in range(50)))


async def assert_nothing_is_left(live: LiveServer, make: Factory, observer: asyncpg.Connection) -> None:
    """No transaction, no lock, every booking whole, and every connection of the pool to be had at once."""
    slot_id, key = await make.slot(max_bookings=10), await make_api_key(make.conn, "frontend")
    await until_idle(observer)
    report = json.loads(await observer.fetchval("SELECT check_invariants()"))
    assert (report["violation_count"], report["checked"]["bookings"] > 0) == (0, True)
    # as many requests as the server has connections, all of them inside the database at once
    async with live.client(key) as client:
        async with held_slots(make.conn, slot_id):
            tasks = begin(client.post("/v1/bookings", json=booking_body(slot_id)) for _ in range(10))
            await until_waiting(observer, 10)
            assert await observer.fetchval(OURS) == 10
        assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [201] * 10
