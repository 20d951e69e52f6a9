"""Many who follow over real sockets, hang up at random and come back, while many write."""

import asyncio
import random
from uuid import UUID

import asyncpg
import httpx2

from tests.concurrency.rivals import connections
from tests.conftest import Connect
from tests.factories import Factory, make_api_key
from tests.live import live_server
from tests.sse import Subscriber

WRITERS = 16
SUBJECTS = 40
CHANGE = "UPDATE bookings SET metadata = metadata WHERE id = $1"


async def write(conn: asyncpg.Connection, bookings: list[UUID], changes: int, chance: random.Random) -> int:
    """So many changes, each in a transaction of one or more; returns how many are left, none."""
    while changes:
        together = min(changes, chance.choice([1, 1, 1, 2, 5]))
        # in one order, as everywhere: rivals who cross would deadlock
        chosen = sorted(chance.choices(bookings, k=together))
        async with conn.transaction():
            for booking_id in chosen:
                await conn.execute(CHANGE, booking_id)
        changes -= together
    return changes


async def follow(subscriber: Subscriber, events: int, chance: random.Random) -> int:
    """Hear that many events, over as many connections as it takes; returns how many that were."""
    visits = 0
    while len(subscriber.told) < events:
        await subscriber.hear(min(events - len(subscriber.told), chance.choice([1, 10, 100, 1000])))
        visits += 1
    return visits


async def crowd(dsn: str, make: Factory, connect: Connect, *, subscribers: int, changes: int, workers: int = 1) -> None:
    """Fail unless every subscriber is told each change once, and those of one booking in order."""
    slot_id = await make.slot(max_bookings=SUBJECTS + 1)
    bookings = [await make.booking(slot_id) for _ in range(SUBJECTS)]
    writers, key = await connections(connect, WRITERS), await make_api_key(make.conn, "admin")
    async with live_server(dsn, workers=workers) as server, server.client(key) as client:
        crowd = [Subscriber(client) for _ in range(subscribers)]
        await asyncio.gather(*(each.begin() for each in crowd))
        following = [follow(each, changes, random.Random(n)) for n, each in enumerate(crowd)]  # noqa: S311 - no secret
        writing = [
            write(conn, bookings, changes // WRITERS, random.Random(-n))  # noqa: S311 - no secret
            for n, conn in enumerate(writers)
        ]
        visits = (await asyncio.gather(*following, *writing))[:subscribers]
        await assert_nothing_more(client, crowd)
    assert max(visits) > 1
    rows = await make.conn.fetch("SELECT id::text, version FROM bookings")
    versions = {row["id"]: row["version"] for row in rows}
    for each in crowd:
        assert_told_once_in_order(each, versions)


def assert_told_once_in_order(subscriber: Subscriber, versions: dict[str, int]) -> None:
    numbers: dict[str, list[int]] = {name: [] for name in versions}
    for event in subscriber.told:
        numbers[event["subject"]["id"]].append(event["sequence"])
    assert numbers == {name: list(range(2, version + 1)) for name, version in versions.items()}


async def assert_nothing_more(client: httpx2.AsyncClient, crowd: list[Subscriber]) -> None:
    for each in crowd:
        answer = await client.get("/v1/events/page", params={"after": str(each.last_id)})
        assert answer.json()["items"] == []
