"""HTTP/1.1 for one request at an instant: its bytes are made beforehand, and sent with one write.

A client for everyday requests does its work when one is sent; a hundred of them at once would not make it in time.
"""

import asyncio
import functools
import ssl
import time
from dataclasses import dataclass, field
from typing import NamedTuple, Self, cast

import h11
import httpx2

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_BODY = 64 * 1024
# Of an answer's head, in bytes: more is no answer.
MAX_HEAD = 32 * 1024


class NotSent(Exception):  # noqa: N818 - it says what is known, which is no error of ours
    """It is certain that the request did not reach the provider."""


class NoAnswer(Exception):  # noqa: N818
    """The request may have reached the provider, and no answer came that could be read."""


class Origin(NamedTuple):
    """Whom a connection is to."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Response:
    """An answer's status, its headers by names in small letters, and the first 64 KiB of its body.

    `sent_at` and `received_at`, the moment of the first byte, are on the monotonic clock.
    """

    status: int
    headers: list[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    is_whole: bool
    sent_at: float
    received_at: float

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key == name.lower()), None)


class Exchange:
    """One request as bytes, and what reads its answer."""

    def __init__(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        request = h11.Request(method=method, target=target, headers=headers)
        parts = [
            self._parser.send(request),
            body and self._parser.send(h11.Data(body)),
            self._parser.send(h11.EndOfMessage()),
        ]
        self.data = b"".join(part for part in parts if part)
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self.sent_at = 0.0
        self.response: Response | None = None
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._received_at = 0.0

    @property
    def may_be_followed(self) -> bool:
        """Whether the connection is good for another request."""
        return self._parser.our_state is self._parser.their_state is h11.DONE and not self._parser.trailing_data[0]

    def receive(self, data: bytes) -> None:
        """Read on; no data is the end of the stream. Sets `ended` when there is a response, or will be none."""
        self._received_at = self._received_at or time.monotonic()
        self.began.set()
        try:
            self._parser.receive_data(data)
            while not self.ended.is_set() and self._take(self._parser.next_event()):
                pass
        except h11.RemoteProtocolError:
            self.ended.set()

    def _take(self, event: object) -> bool:
        if isinstance(event, h11.Response):
            self._head = event
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > MAX_BODY:
                self._end(is_whole=False)
        elif isinstance(event, h11.EndOfMessage):
            self._end(is_whole=True)
        elif not isinstance(event, h11.InformationalResponse):
            return False
        return True

    def _end(self, *, is_whole: bool) -> None:
        if self._head is not None:
            headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in self._head.headers]
            body = bytes(self._body[:MAX_BODY])
            self.response = Response(self._head.status_code, headers, body, is_whole, self.sent_at, self._received_at)
        self.ended.set()


class Connection(asyncio.Protocol):
    """An open connection, which carries one exchange at a time. `lost` is set when it is of no more use."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None

    @classmethod
    async def open(cls, origin: Origin, seconds: float, address: str | None = None) -> Self:
        """Connect, TLS included; to that address, whatever the host's name would lead to. Raises NotSent."""
        tls = tls_context() if origin.scheme == "https" else None
        try:
            async with asyncio.timeout(seconds):
                _, connection = await asyncio.get_running_loop().create_connection(
                    cls, address or origin.host, origin.port, ssl=tls, server_hostname=origin.host if tls else None
                )
        except TimeoutError:
            msg = "no connection in time"
            raise NotSent(msg) from None
        except (OSError, UnicodeError) as error:
            msg = f"no connection: {type(error).__name__}"
            raise NotSent(msg) from None
        return connection

    def send(self, exchange: Exchange) -> bool:
        """Write the request, and answer whether that was possible. Nothing else happens between."""
        if self.lost.is_set() or self._transport.is_closing():
            return False
        exchange.sent_at = time.monotonic()
        self._exchange = exchange
        self._transport.write(exchange.data)
        return True

    async def answer(self, exchange: Exchange, first_byte: float, whole: float) -> Response:
        """What comes back on a request that was sent, within so many seconds. Raises NoAnswer."""
        try:
            async with asyncio.timeout(whole):
                async with asyncio.timeout(first_byte):
                    await exchange.began.wait()
                await exchange.ended.wait()
        except TimeoutError:
            msg = "no answer in time"
            raise NoAnswer(msg) from None
        finally:
            self._exchange = None
            if not exchange.may_be_followed:
                await self.close()
        if exchange.response is None:
            msg = "the connection broke, or what came is not HTTP"
            raise NoAnswer(msg)
        return exchange.response

    async def close(self) -> None:
        """Let go of it at once."""
        self._transport.abort()
        await self.lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._exchange is None:
            # what nobody asked for would be taken for the next answer
            self._transport.abort()
            return
        self._exchange.receive(data)
        if self._exchange.ended.is_set() and not self._exchange.may_be_followed:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self.lost.set()
        if self._exchange is not None:
            if exc is None and not self._exchange.ended.is_set():
                # the end of a body that has no length
                self._exchange.receive(b"")
            self._exchange.began.set()
            self._exchange.ended.set()


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The trusted certificates of this machine, or of `SSL_CERT_FILE`; read once, for that takes a while."""
    context = httpx2.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
