"""One POST to a receiver nobody vouches for: never redirected, capped in time and size, not into one's own network."""

import asyncio
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import h11

from app.adapters.reading import retry_after_of
from app.adapters.wire import DEFAULT_PORTS, Connection, Exchange, NoAnswer, NotSent, Origin, Response
from app.webhooks.addresses import ForbiddenAddressError, Network, Resolve, addresses_of, checked_addresses, is_own

# Seconds, for everything: the name, the connection, the request, the whole answer. A bounded run has eight.
TIMEOUT = 5.0
# Bytes of an answer that are kept.
MAX_ANSWER = 1024
FORBIDDEN = "the address is not allowed"


class Answer(NamedTuple):
    """What came of a request: no `error`, and it is delivered. `retry_after` is in seconds."""

    error: str | None
    duration_ms: int
    status: int | None = None
    text: str | None = None
    retry_after: float | None = None


class Sender:
    """Sends to public addresses, and to those in `allowed`, which alone may be reached without TLS."""

    def __init__(
        self, allowed: Sequence[Network], *, resolve: Resolve = addresses_of, timeout: float = TIMEOUT
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._timeout = timeout

    async def post(self, url: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """What the receiver answers, within the timeout. Raises nothing that a receiver could bring about."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._post(url, headers, body)
        except TimeoutError:
            return Answer("no answer in time", _since(began))
        except ForbiddenAddressError:
            return Answer(FORBIDDEN, _since(began))
        except (OSError, UnicodeError):
            return Answer("the host is not known", _since(began))
        except (NotSent, NoAnswer) as error:
            return Answer(str(error), _since(began))
        except (ValueError, h11.LocalProtocolError):
            return Answer("the URL cannot be used", _since(began))
        return _answer_of(response, _since(began))

    async def _post(self, url: str, headers: list[tuple[str, str]], body: bytes) -> Response:
        parts = urlsplit(url)
        origin = _origin_of(parts)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.netloc.rpartition("@")[2]
        fixed = [("host", host), ("content-type", "application/json"), ("content-length", str(len(body)))]
        exchange = Exchange(
            "POST", target, [*fixed, ("user-agent", "holdfast"), ("connection", "close"), *headers], body
        )
        addresses = await checked_addresses(origin.host, origin.port, self._allowed, self._resolve)
        if origin.scheme == "http" and not all(is_own(address, self._allowed) for address in addresses):
            raise ForbiddenAddressError
        connection = await self._connect(origin, addresses)
        try:
            if not connection.send(exchange):
                msg = "the connection broke"
                raise NotSent(msg)
            return await connection.answer(exchange, self._timeout, self._timeout)
        finally:
            await connection.close()

    async def _connect(self, origin: Origin, addresses: Sequence[str]) -> Connection:
        *others, last = addresses
        for address in others:
            try:
                return await Connection.open(origin, self._timeout / len(addresses), address)
            except NotSent:
                continue
        return await Connection.open(origin, self._timeout, last)


def _origin_of(parts: SplitResult) -> Origin:
    """Whom the URL means. Raises ValueError."""
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        msg = "not an address of a receiver"
        raise ValueError(msg)
    return Origin(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])


def _answer_of(response: Response, duration_ms: int) -> Answer:
    # Postgres stores no NUL, and what is cut may end within a character
    text = response.body[:MAX_ANSWER].decode(errors="replace").replace("\0", "�")
    if HTTPStatus(200) <= response.status < HTTPStatus(300):
        return Answer(None, duration_ms, response.status, text)
    error = f"HTTP {response.status}"
    return Answer(error, duration_ms, response.status, text, retry_after_of(response))


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
