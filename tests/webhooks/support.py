"""Receivers on loopback, endpoints that lead there, and a clock that goes as fast as the test wants."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self
from uuid import UUID, uuid4

import asyncpg
from standardwebhooks import Webhook

from app.database import Database
from app.encryption import EncryptionKeys
from app.handlers import Job
from app.jobs.settlement import settlement_of
from app.settings import Settings
from app.webhooks.handlers import deliver_webhook
from app.webhooks.sending import Sender
from app.webhooks.signing import new_secret
from app.webhooks.vault import seal
from tests.adapters.support import http
from tests.credentials.support import FIRST
from tests.factories import ACTOR
from tests.sql.support import call_json, call_row

OK = http(204)


class Received(NamedTuple):
    """One request as it came."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    def verified(self, secret: str) -> Any:
        """The event, as the reference library reads it. Raises WebhookVerificationError."""
        return Webhook(secret).verify(self.body, dict(self.headers))


Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def answers(data: bytes) -> Behaviour:
    """Answers every request so."""

    async def behave(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return behave


async def hangs(_received: Received, _writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.Event().wait()


class Receiver:
    """Somebody's server. `behaviour` may be changed at any time; `received` is all that came."""

    def __init__(self, behaviour: Behaviour | None = None, host: str = "127.0.0.1") -> None:
        self.behaviour = behaviour or answers(OK)
        self.received: list[Received] = []
        self.connections = 0
        self.port = 0
        self._host = host
        self._arrived = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [received.id for received in self.received]

    async def until_received(self, count: int) -> None:
        """Return when that many requests have come in all."""
        async with asyncio.timeout(20):
            while len(self.received) < count:
                self._arrived.clear()
                await self._arrived.wait()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            headers = dict(re.findall(r"^([\w-]+): (.*)\r$", head, re.MULTILINE))
            received = Received(headers, await reader.readexactly(int(headers["content-length"])))
            self.received.append(received)
            self._arrived.set()
            await self.behaviour(received, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._serving.discard(task)
            writer.transport.abort()


class Endpoint(NamedTuple):
    """A webhook endpoint, and the secret that its receiver was told."""

    id: UUID
    secret: str


async def add_endpoint(conn: asyncpg.Connection, url: str, *event_types: str, keys: str = FIRST) -> Endpoint:
    """An endpoint through the function that the API calls, for these types of events or for all."""
    endpoint = Endpoint(uuid4(), new_secret())
    sealed = seal(EncryptionKeys(keys), *endpoint)
    await call_row(
        conn,
        "create_webhook_endpoint",
        p_actor=ACTOR,
        p_endpoint_id=endpoint.id,
        p_url=url,
        p_event_types=list(event_types) or None,
        p_description=None,
        p_key_id=sealed.key_id,
        p_nonce=sealed.nonce,
        p_ciphertext=sealed.ciphertext,
    )
    return endpoint


async def endpoint_json(conn: asyncpg.Connection, endpoint: Endpoint) -> Any:
    """The endpoint as the API answers it."""
    return json.loads((await call_row(conn, "get_webhook_endpoint", p_endpoint_id=endpoint.id))["body"])


async def deliveries_of(conn: asyncpg.Connection, endpoint: Endpoint) -> list[Any]:
    """Its deliveries as the API answers them."""
    page = await call_json(conn, "list_deliveries", p_endpoint_id=endpoint.id, p_limit=10_000)
    items: list[Any] = page["items"]
    return items


class FastClock:
    """Delivers as a worker does, by a clock that leaps from one thing that is due to the next."""

    def __init__(self, conn: asyncpg.Connection, database: Database, settings: Settings, sender: Sender) -> None:
        self.now: datetime
        self._conn = conn
        self._handler = deliver_webhook(database, settings, sender, lambda: self.now)

    async def begin(self) -> datetime:
        """Start at the database's own time."""
        self.now = await self._conn.fetchval("SELECT clock_timestamp()")
        return self.now

    async def run(self, duration: timedelta) -> None:
        """Do what falls due within that time."""
        end = self.now + duration
        pending = "SELECT min(run_at) FROM jobs WHERE queue = 'webhooks' AND status = 'pending'"
        while (due := await self._conn.fetchval(pending)) is not None and due <= end:
            self.now = max(self.now, due)
            await self._work()
        self.now = end

    async def _work(self) -> None:
        rows = await self._conn.fetch(
            "SELECT * FROM claim_jobs('test', 'webhooks', 100, '1 hour', $1)",
            self.now,
        )
        jobs = [
            Job(
                *(row["id"], row["job_type"], json.loads(row["payload"]), row["attempt"], row["max_attempts"]),
                *(row["lease_token"], row["booking_id"], row["scheduled_at"]),
            )
            for row in rows
        ]
        outcomes = await asyncio.gather(*(self._handler.run(job) for job in jobs))
        told = [settlement.of(job) for job, o in zip(jobs, outcomes, strict=True) if (settlement := settlement_of(o))]
        await self._conn.fetch("SELECT * FROM settle_jobs($1, $2)", json.dumps(told), self.now)
