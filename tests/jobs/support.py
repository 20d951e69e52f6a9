"""Handlers, a provider and shorthands for tests of the job engine."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import httpx2

from app.database import Database
from app.handlers import Handler, Job, Ok, Outcome, Retry, Settled
from app.jobs.runner import Runner
from app.security import Actor
from tests.sql.jobs import ATTEMPTS
from tests.sql.support import call_value

ACTOR = Actor("system", "test")
PATIENCE_SECONDS = 20
LEASE = 30.0

# an effect inside the database, and its job's end, in one transaction
EFFECTS = """
    CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY, job_id uuid NOT NULL);
    CREATE FUNCTION do_effect(p_job_id uuid, p_lease_token bigint) RETURNS void LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
    BEGIN
      INSERT INTO effects (job_id) VALUES (p_job_id);
      PERFORM complete_leased_job(p_job_id, p_lease_token);
    END
    $$;
"""


async def enqueue(conn: asyncpg.Connection, job_type: str = "work", payload: object = None, **overrides: Any) -> UUID:
    """A job that is due now, unless the test says otherwise."""
    arguments = {"p_job_type": job_type, "p_payload": json.dumps(payload or {})} | overrides
    return UUID(str(await call_value(conn, "enqueue_job", **arguments)))


async def enqueue_many(conn: asyncpg.Connection, count: int, job_type: str = "work", **overrides: Any) -> list[UUID]:
    """So many jobs, in the order in which they are due."""
    return [await enqueue(conn, job_type, **overrides) for _ in range(count)]


async def job_row(conn: asyncpg.Connection, job_id: UUID) -> asyncpg.Record:
    """A job as it is stored."""
    (row,) = await conn.fetch("SELECT * FROM jobs WHERE id = $1", job_id)
    return row


async def statuses(conn: asyncpg.Connection, job_type: str = "work") -> dict[str, int]:
    """How many jobs of that type are in each status."""
    rows = await conn.fetch("SELECT status, count(*) FROM jobs WHERE job_type = $1 GROUP BY status", job_type)
    return {row["status"]: row["count"] for row in rows}


async def attempts_of(conn: asyncpg.Connection, job_id: UUID) -> list[str]:
    """What came of each attempt at a job, oldest first."""
    query = f"SELECT outcome FROM {ATTEMPTS} a WHERE job_id = $1 ORDER BY lease_token"
    return [row["outcome"] for row in await conn.fetch(query, job_id)]


async def lose_leases(conn: asyncpg.Connection) -> int:
    """How many jobs are given back as if their leases were over, to be tried again at once."""
    rescued = await conn.fetchval("SELECT rescue_jobs(1000, now() + interval '10 minutes')")
    await hurry(conn)
    return int(rescued)


async def hurry(conn: asyncpg.Connection) -> None:
    """Let everything that waits for its next attempt be due now."""
    await conn.execute("UPDATE jobs SET run_at = now() WHERE status = 'pending' AND run_at > now()")


def runner_of(database: Database, *handlers: Handler, concurrency: int = 10, **options: Any) -> Runner:
    """A runner with a lease that outlives the test."""
    return Runner(database, ACTOR, handlers, "test", concurrency=concurrency, lease=lambda: LEASE, **options)


async def do_all(runner: Runner) -> None:
    """Claim, run and settle until nothing is left."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await runner.fill() or runner.leased:
            if not await runner.settle():
                await runner.something_finished(PATIENCE_SECONDS)


def handler(run: Callable[[Job], Awaitable[Outcome]], job_type: str = "work", **options: Any) -> Handler:
    """Who does the jobs of that type; options as Handler takes them."""
    return Handler(job_type, run, **options)


def answers(outcome: Outcome, job_type: str = "work", **options: Any) -> Handler:
    """Does nothing, and has that to say of it."""

    async def run(_job: Job) -> Outcome:
        return outcome

    return handler(run, job_type, **options)


def raises(error: Exception, job_type: str = "work", **options: Any) -> Handler:
    """Always fails."""

    async def run(_job: Job) -> Outcome:
        raise error

    return handler(run, job_type, **options)


def hangs(job_type: str = "work", **options: Any) -> Handler:
    """Never answers."""

    async def run(_job: Job) -> Outcome:
        await asyncio.Event().wait()
        return Ok()

    return handler(run, job_type, **options)


class Gate:
    """A handler that answers when it is told to; it counts how often each job was begun, and was cancelled."""

    def __init__(self, *, is_deaf: bool = False, outcome: Outcome | None = None) -> None:
        self.open = asyncio.Event()
        self.begun: Counter[UUID] = Counter()
        self.cancelled: Counter[UUID] = Counter()
        self._moved = asyncio.Event()
        self._is_deaf = is_deaf
        self._outcome = outcome or Ok()

    async def __call__(self, job: Job) -> Outcome:
        """Run as a handler does. A deaf one goes on though it is cancelled."""
        self.begun[job.id] += 1
        self._moved.set()
        while not self.open.is_set():
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.cancelled[job.id] += 1
                self._moved.set()
                if not self._is_deaf:
                    raise
        return self._outcome

    async def until_begun(self, count: int) -> None:
        """Return when that many have been begun in all."""
        await self._until(self.begun, count)

    async def until_cancelled(self, count: int) -> None:
        """Return when that many have been cancelled in all."""
        await self._until(self.cancelled, count)

    async def _until(self, counter: Counter[UUID], count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while counter.total() < count:
                self._moved.clear()
                await self._moved.wait()


def effects(database: Database, job_type: str = "effect", **options: Any) -> Handler:
    """Has its effect inside the database; needs EFFECTS."""

    async def run(job: Job) -> Outcome:
        await database.call("do_effect", p_job_id=job.id, p_lease_token=job.lease_token)
        return Settled()

    return handler(run, job_type, **options)


def posts(client: httpx2.AsyncClient, job_type: str = "post", **options: Any) -> Handler:
    """Sends a POST to the payload's url, with the key that a provider knows a repetition by."""

    async def run(job: Job) -> Outcome:
        answer = await client.post(job.payload["url"], headers={"Idempotency-Key": job.idempotency_key("post")})
        return Ok({"status": answer.status_code}) if answer.is_success else Retry(f"HTTP {answer.status_code}")

    return handler(run, job_type, **options)


class Provider(ThreadingHTTPServer):
    """Somebody else's server: `/ok` answers, `/fail` refuses, `/hang` answers once it is `free` to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.keys: list[str] = []
        self.free = threading.Event()
        self._arrived = threading.Condition()

    def url(self, path: str) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def note(self, key: str) -> None:
        """A request with that key has arrived."""
        with self._arrived:
            self.keys.append(key)
            self._arrived.notify_all()

    async def until_asked(self, count: int) -> None:
        """Return when that many requests have arrived in all."""
        assert await asyncio.to_thread(self._wait_for, count), f"{len(self.keys)} requests came, not {count}"

    def _wait_for(self, count: int) -> bool:
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self.keys) >= count, PATIENCE_SECONDS)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a caller that was killed is what these tests are about."""


class _Answer(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        self.server.note(self.headers["Idempotency-Key"])
        if self.path == "/hang":
            self.server.free.wait(PATIENCE_SECONDS)
        self.send_response(503 if self.path == "/fail" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider for as long as the block runs."""
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.free.set()
            server.shutdown()
            thread.join()


class Wire:
    """A way to the database that can be made to carry nothing any more, as a network does that loses its way."""

    def __init__(self, dsn: str) -> None:
        self._url = urlsplit(dsn)
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_called = asyncio.Event()
        self._pumps: set[asyncio.Task[None]] = set()
        self.dsn = ""

    def fall_silent(self) -> None:
        """Say nothing more in either direction, and do not hang up."""
        self._flows.clear()
        self._is_called.clear()

    async def until_called(self) -> None:
        """Return when somebody has tried to connect since it fell silent."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._is_called.wait()

    def speak_again(self) -> None:
        """Carry what comes from now on, and what was kept back."""
        self._flows.set()

    def hang_up(self) -> None:
        """Break every connection off."""
        for pump in self._pumps:
            pump.cancel()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.dsn = f"postgresql://{self._url.username}@127.0.0.1:{port}{self._url.path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._is_called.set()
        asked = parse_qs(self._url.query)
        host, port = asked["host"][0], asked.get("port", ["5432"])[0]
        if host.startswith("/"):
            theirs = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            theirs = await asyncio.open_connection(host, int(port))
        self._pumps |= {
            asyncio.create_task(self._pump(reader, theirs[1])),
            asyncio.create_task(self._pump(theirs[0], writer)),
        }

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._flows.wait()
                sink.write(data)
        finally:
            sink.transport.abort()
