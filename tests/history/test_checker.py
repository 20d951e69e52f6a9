"""The checker finds nothing where all is well, and each of these bugs by the name of the promise that it breaks."""

import json
from collections.abc import Awaitable, Callable

import asyncpg
import httpx2
import pytest
from starlette.types import ASGIApp

from app.main import create_app
from app.settings import Settings
from tests.concurrency.rivals import begin, held_slots, until_waiting
from tests.conftest import Connect
from tests.factories import HOUR, SYSTEM, TOMORROW, Factory, make_api_key
from tests.history.bugs import BUGS
from tests.history.checker import INVARIANTS, broken
from tests.history.record import History, Settlement
from tests.history.state import State, read_state
from tests.sql.support import call, call_row

RIVALS = 5
AFTERWARDS = TOMORROW - 7 * HOUR


async def settled(conn: asyncpg.Connection, job_id: str, lease_token: int) -> str:
    """What settle_jobs says to whoever has done that job."""
    outcome = {"id": job_id, "lease_token": lease_token, "outcome": "processed"}
    (told,) = await call(conn, "settle_jobs", p_settlements=json.dumps([outcome]))
    return str(told["answer"])


async def completed(conn: asyncpg.Connection, job_id: str, lease_token: int) -> str:
    """The same of complete_jobs."""
    lost = await call(conn, "complete_jobs", p_job_ids=[job_id], p_lease_tokens=[lease_token])
    return "stale" if lost else "ok"


class Play:
    """An installation's life in short, with all that may go wrong in it."""

    def __init__(self, client: httpx2.AsyncClient, make: Factory, observer: asyncpg.Connection) -> None:
        self.history = History()
        self._client, self._make, self._observer = client, make, observer

    async def run(self) -> State:
        """Play it, and what the database says afterwards."""
        await self._race()
        await self._change()
        await self._do_a_job(settled)
        await self._do_a_job(completed)
        await self._complete()
        return (await read_state(self._make.conn))._replace(now=AFTERWARDS)

    async def _race(self) -> None:
        slot_id = await self._make.slot(max_bookings=2)
        rivals = [self.history.intend("book", slot_id) for _ in range(RIVALS)]
        async with held_slots(self._make.conn, slot_id):
            tasks = begin(rival.ask(self._client) for rival in rivals)
            await until_waiting(self._observer, RIVALS)
        for task in tasks:
            await task

    async def _change(self) -> None:
        slot_id, other_id = await self._make.slot(max_bookings=9), await self._make.slot(max_bookings=9)
        bookings = []
        for _ in range(2):
            intent = self.history.intend("book", slot_id)
            bookings.append((await intent.ask(self._client)).body)
            # as after an answer that got lost
            await intent.ask(self._client)
        moved, cancelled = bookings
        await self.history.intend("reschedule", other_id, moved).ask(self._client)
        # the version is no longer this one
        await self.history.intend("cancel", booking=moved).ask(self._client)
        await self.history.intend("cancel", booking=cancelled).ask(self._client)

    async def _do_a_job(self, done: Callable[[asyncpg.Connection, str, int], Awaitable[str]]) -> None:
        conn = self._make.conn
        await conn.execute("SELECT enqueue_job('work')")
        for n in range(2):
            job = await call_row(
                conn, "claim_jobs", p_instance_id=f"worker-{n}", p_queue="default", p_limit=1, p_lease=HOUR
            )
            self.history.jobs.append(Settlement(str(job["id"]), job["lease_token"], "claimed"))
            if n == 0:
                await conn.execute("UPDATE jobs SET leased_until = now() - interval '1 h' WHERE status = 'processing'")
                await conn.execute("SELECT rescue_jobs(100)")
                await conn.execute("UPDATE jobs SET run_at = now() WHERE job_type = 'work'")
        for job_id, token, _ in [told for told in self.history.jobs if told.job_id == str(job["id"])]:
            self.history.jobs.append(Settlement(job_id, token, await done(conn, job_id, token)))

    async def _complete(self) -> None:
        conn = self._make.conn
        # before any other slot
        slot_id = await self._make.slot(starts_at=TOMORROW - 9 * HOUR)
        await self.history.intend("book", slot_id).ask(self._client)
        for _ in range(2):
            await call(conn, "complete_due_bookings", p_actor=SYSTEM, p_limit=100, p_now=AFTERWARDS)


async def play(
    settings: Settings, make: Factory, connect: Connect, front: Callable[[ASGIApp], ASGIApp] | None = None
) -> dict[str, list[str]]:
    """What the checker says after the play, with this in front of the app."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(front(app) if front else app)
        headers = {"Authorization": f"Bearer {await make_api_key(make.conn, 'admin')}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://here", headers=headers) as client:
            played = Play(client, make, await connect())
            return broken(played.history, await played.run())


async def test_where_all_is_well_nothing_is_found(settings: Settings, make: Factory, connect: Connect) -> None:
    assert await play(settings, make, connect) == {}


@pytest.mark.parametrize("name", sorted(BUGS))
async def test_a_bug_is_found_by_the_promise_it_breaks(
    settings: Settings, make: Factory, connect: Connect, name: str
) -> None:
    bug = BUGS[name]
    await bug.plant(make.conn)

    assert bug.breaks in await play(settings, make, connect, bug.front)


def test_there_is_a_bug_for_every_invariant() -> None:
    assert {bug.breaks for bug in BUGS.values()} == {invariant.__name__ for invariant in INVARIANTS}


def test_an_empty_history_and_an_empty_database_break_nothing() -> None:
    assert broken(History(), State(TOMORROW, {}, {}, {}, [])) == {}
