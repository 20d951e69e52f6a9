"""The simulator on a port of its own, and a server that answers with whatever bytes it is given."""

import asyncio
import re
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx2

from app.adapters.adapter import Answer, Credentials, Order
from app.adapters.http_json import HttpJsonAdapter
from app.simulator.provider import settings_for
from app.simulator.serving import listen, server_of
from app.simulator.site import create_simulator
from app.simulator.world import Conduct

PASSWORD = "canary/P4ss word+ü"  # noqa: S105 - lets nobody in anywhere
USER = "ana.canary@example.org"
CREDENTIALS = Credentials({"user": USER, "password": PASSWORD})
ORDER = Order({"class": "yoga", "date": "2030-05-01", "time": "18:00"}, "key-1", {"ref": "u1", "phone": None})
# short, so that what never ends does not take long
LIMITS = {"connect": 1.0, "first_byte": 0.4, "whole": 0.8}


async def at_once() -> None:
    """An instant that has come."""


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Return when it is so; what happens elsewhere cannot be waited for otherwise."""
    async with asyncio.timeout(10):
        while not await is_so():  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(0.01)


class Simulator:
    """A running simulator, and how to tell it what to do."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self.url = url
        self._client = client

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the provider it plays, with little patience."""
        return {**settings_for(self.url), "limits": LIMITS}

    async def behave(self, **conduct: Any) -> None:
        conduct = {"accounts": {USER: PASSWORD}, **conduct}
        (await self._client.put("/control/conduct", json=conduct)).raise_for_status()

    async def fail(self, kind: str, **fault: Any) -> None:
        (await self._client.post("/control/faults", json={"kind": kind, **fault})).raise_for_status()

    async def requests(self, endpoint: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self._client.get("/control/requests")).json()["items"]
        return [item for item in items if item["endpoint"] == endpoint]

    async def bookings(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self._client.get("/control/bookings")).json()["items"]
        return items


@asynccontextmanager
async def running_simulator() -> AsyncIterator[Simulator]:
    """A simulator in a thread of its own, with an event loop of its own."""
    listening, url = listen(0)
    server = server_of(create_simulator(Conduct(accounts={USER: PASSWORD})))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=10) as client:
            yield Simulator(url, client)
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join)
        listening.close()


@asynccontextmanager
async def adapter_of(settings: Mapping[str, Any]) -> AsyncIterator[HttpJsonAdapter]:
    """An adapter for these settings, which is closed at the end."""
    adapter = HttpJsonAdapter.of(settings)
    try:
        yield adapter
    finally:
        await adapter.close()


async def booked(settings: Mapping[str, Any], order: Order = ORDER, credentials: Credentials = CREDENTIALS) -> Answer:
    """What comes of an order whose instant has come."""
    async with adapter_of(settings) as adapter:
        return await adapter.book(order, credentials, at_once)


class Canned:
    """A server that answers each request with the next bytes it was given, the last ones again and again.

    It keeps all that it was sent. `hold` keeps the connection open after an answer.
    """

    def __init__(self, *answers: bytes, hold: bool = True, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[bytes] = []
        self.connections = 0
        self.url = ""
        self._answers = list(answers)
        self._hold = hold
        self._tls = tls
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=200)
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    async def is_connected(self, times: int) -> None:
        """Return when that many connections have been opened in all."""

        async def is_so() -> bool:
            return self.connections >= times

        await until(is_so)

    def note(self) -> None:
        """Called when the head of a request has come."""

    def hang_up(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.note()
                length = re.search(rb"content-length: (\d+)", head.lower())
                self.received.append(head + await reader.readexactly(int(length[1]) if length else 0))
                writer.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])
                await writer.drain()
                if not self._hold:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def http(status: int, body: str = "", **headers: str) -> bytes:
    """An answer as bytes; underscores in names stand for hyphens."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = [f"HTTP/1.1 {status} Answer", f"Content-Length: {len(body.encode())}", *lines]
    return "\r\n".join([*head, "", body]).encode()


def plain(url: str, **booking: Any) -> dict[str, Any]:
    """Settings of a provider that asks for no login, with these members of `booking`."""
    rules = [{"finding": "booked", "status": 201, "path": "id"}]
    return {"base_url": url, "limits": LIMITS, "booking": {"path": "/book", "rules": rules, **booking}}
