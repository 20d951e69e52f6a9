"""kill -9 of every worker process under load: what was answered is kept, and what was not can be repeated."""

import asyncio
import os
import signal
from typing import NamedTuple
from uuid import UUID

import asyncpg
import httpx2

from tests.api.calls import assert_problem, book
from tests.concurrency.rivals import assert_counters_equal_a_recount, begin, held_slots, until_buried, until_waiting
from tests.conftest import Connect
from tests.factories import Factory, make_api_key
from tests.live import LiveServer, live_server

FREE, ANSWERED, STUCK = 200, 20, 60
GOODBYE_SECONDS = 2


class Attempt(NamedTuple):
    """One intended booking: its key is its customer's ref too, so that the table tells which became of it."""

    slot_id: UUID
    key: str

    async def send(self, client: httpx2.AsyncClient) -> httpx2.Response | None:
        """The answer, or None where there was none. What is refused because of all the others is asked again."""
        try:
            while (answer := await book(client, self.slot_id, self.key, customer={"ref": self.key})).status_code == 503:
                assert_problem(answer, 503, "busy")
                await asyncio.sleep(0.01)
        except httpx2.TransportError:
            return None
        return answer


async def bookings_by_key(conn: asyncpg.Connection) -> dict[str, list[str]]:
    found = await conn.fetch(
        "SELECT c.ref, array_agg(b.id::text) ids FROM bookings b JOIN customers c ON c.id = b.customer_id GROUP BY 1"
    )
    return {row["ref"]: row["ids"] for row in found}


async def first(count: int, tasks: list["asyncio.Task[httpx2.Response | None]"]) -> None:
    """Return when that many of them are over."""
    pending = set(tasks)
    while len(tasks) - len(pending) < count:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)


def answer_of(task: "asyncio.Task[httpx2.Response | None]") -> httpx2.Response | None:
    if task.done():
        return task.result()
    task.cancel()
    return None


def kill_all_workers(server: LiveServer) -> None:
    os.kill(server.process.pid, signal.SIGSTOP)  # so that none is replaced before we have looked
    for pid in server.worker_pids:
        os.kill(pid, signal.SIGKILL)


async def test_no_answered_booking_is_lost_and_every_key_gives_one_booking(
    dsn: str, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    free, stuck = await make.slot(max_bookings=10_000), await make.slot(max_bookings=10_000)
    key, observer = await make_api_key(conn, "frontend"), await connect()

    async with live_server(dsn, workers=2) as server:
        async with server.client(key) as client, held_slots(conn, stuck):
            attempts = [Attempt(free, f"free-{n}") for n in range(FREE)]
            tasks = begin(attempt.send(client) for attempt in attempts)
            await first(ANSWERED, tasks)
            # more than the server has connections: so some are inside the database when it dies, and some are not
            attempts += (waiting := [Attempt(stuck, f"stuck-{n}") for n in range(STUCK)])
            tasks += begin(attempt.send(client) for attempt in waiting)
            await until_waiting(observer, 5)
            kill_all_workers(server)
            answers = dict(zip(attempts, await asyncio.gather(*tasks), strict=True))
        # a session whose client was killed carries its statement out, finds nobody to tell, and goes
        await until_buried(observer)

        before = await bookings_by_key(observer)
        unanswered = [attempt for attempt, answer in answers.items() if answer is None]
        for attempt, answer in answers.items():
            if answer is not None:
                assert answer.status_code == 201, answer.text
                assert before[attempt.key] == [answer.json()["id"]]
        assert len(attempts) - len(unanswered) >= ANSWERED
        assert any(attempt.key in before for attempt in unanswered)
        assert any(attempt.key not in before for attempt in unanswered)

        os.kill(server.process.pid, signal.SIGCONT)
        await server.wait_until_ready(starts=4)
        async with server.client(key) as client:
            repeated = await asyncio.gather(*(attempt.send(client) for attempt in unanswered))

    after = await bookings_by_key(observer)
    assert after.keys() == {attempt.key for attempt in attempts}
    assert all(len(ids) == 1 for ids in after.values())
    for attempt, answer in zip(unanswered, repeated, strict=True):
        assert answer is not None
        assert (answer.status_code, after[attempt.key]) == (201, [answer.json()["id"]])
        # a refusal for want of time does not tell whether its booking was made
        assert attempt.key not in before or "idempotent-replayed" in answer.headers
    await assert_counters_equal_a_recount(observer)
