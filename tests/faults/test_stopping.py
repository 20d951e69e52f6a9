"""SIGTERM: what is under way is finished, newcomers find nobody, and then the server is gone."""

import asyncio
import signal

import asyncpg
import httpx2

from tests.api.calls import book
from tests.concurrency.rivals import begin, held_slots, until_waiting
from tests.conftest import Connect
from tests.factories import Factory, make_api_key
from tests.live import PATIENCE_SECONDS, live_server

UNDER_WAY = 15


async def test_a_server_that_is_told_to_stop_finishes_what_is_under_way_and_takes_nothing_new(
    dsn: str, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, observer = await make.slot(max_bookings=100), await connect()

    async with live_server(dsn) as server, server.client(await make_api_key(conn, "frontend")) as client:
        async with held_slots(conn, slot_id):
            # more than it has connections: some are in the database, and some wait for their turn
            tasks = begin(book(client, slot_id) for _ in range(UNDER_WAY))
            await until_waiting(observer, 10)
            server.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await _is_there(server.url):  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.01)
            assert not any(task.done() for task in tasks)
        assert [(await task).status_code for task in tasks] == [201] * UNDER_WAY
        await asyncio.to_thread(server.process.wait, PATIENCE_SECONDS)

    assert await conn.fetchval("SELECT count(*) FROM bookings") == UNDER_WAY


async def _is_there(url: str) -> bool:
    async with httpx2.AsyncClient(base_url=url) as client:
        try:
            await client.get("/healthz")
        except httpx2.TransportError:
            return False
        return True
