"""The adapter for providers that speak JSON over HTTP, described in data (app/adapters/description.py).

An order is one request. Redirects are not followed, so what a customer stored goes nowhere but to the provider.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from app.adapters.adapter import Answer, Clock, Credentials, Finding, Fire, Order
from app.adapters.clock import Reading, measure
from app.adapters.description import Booking, Description, Login, Lookup, Request
from app.adapters.reading import UNLIKELY, answer_of, document_of, finding_of, http_date, retry_after_of, text_at
from app.adapters.templates import Unfit, Values, fill_header, fill_json, fill_path, secrets_of, values_of
from app.adapters.wire import DEFAULT_PORTS, Connection, Exchange, NoAnswer, NotSent, Origin, Response

# Between two attempts to open the connection again while an order waits for its instant.
REOPEN_SECONDS = 0.25
MAX_COOKIES = 8192

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Session:
    """What the login came to: an answer, and if that is `valid`, the headers that later requests carry."""

    answer: Answer
    headers: Headers = field(default_factory=list, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


class HttpJsonAdapter:
    """Books at a provider of this description. One order at a time: its methods are called one after the other."""

    def __init__(self, description: Description) -> None:
        self.honours_idempotency_key = description.booking.idempotency_header is not None
        self._description = description
        url = description.base_url
        self._origin = Origin(url.scheme, (url.host or "").strip("[]"), url.port or DEFAULT_PORTS[url.scheme])
        self._host = url.host or "" if url.port in {None, DEFAULT_PORTS[url.scheme]} else f"{url.host}:{url.port}"
        self._prefix = (url.path or "").rstrip("/")
        self._connection: Connection | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The adapter for a provider of these settings. Raises ValueError, in an admin's words, if they are wrong."""
        return cls(Description.of(settings))

    async def clock(self) -> Clock | None:
        """The provider's clock against ours; None if it shows none."""
        return await measure(self._look)

    async def check_credentials(self, credentials: Credentials) -> Answer:
        """Log in, and say what came of it."""
        return (await self._log_in(credentials)).answer

    async def book(self, order: Order, credentials: Credentials, fire: Fire) -> Answer:
        """Log in, get the request ready on an open connection, await `fire()`, send it, and say what came of it."""
        session = await self._log_in(credentials)
        if session.answer.finding != "valid":
            return session.answer
        booking = self._description.booking
        try:
            exchange = self._exchange(booking, values_of(order), [*session.headers, *_key_header(booking, order)])
            await self._connect()
            response = await self._fire(exchange, fire)
        except Unfit as error:
            return answer_of("refused", str(error), session.secrets)
        except NotSent as error:
            return answer_of("unavailable", str(error), session.secrets)
        except NoAnswer as error:
            return answer_of("unknown", str(error), session.secrets)
        return self._read(response, booking, "unknown", session.secrets, booking.confirmation)

    async def lookup(self, order: Order, credentials: Credentials) -> Answer:
        """What became of an order that was sent: booked, absent, or unknown; that too if the login does not work."""
        lookup = self._description.lookup
        if lookup is None:
            return Answer("unknown", detail="the provider's settings have no lookup")
        session = await self._log_in(credentials)
        if session.answer.finding in {"unavailable", "refused"}:
            return Answer("unknown", detail=session.answer.detail)
        if session.answer.finding != "valid":
            return session.answer
        try:
            response = await self._send(self._exchange(lookup, values_of(order), session.headers))
        except (Unfit, NotSent, NoAnswer) as error:
            return answer_of("unknown", str(error), session.secrets)
        answer = self._read(response, lookup, "unknown", session.secrets, lookup.confirmation)
        return answer if answer.finding != "refused" else Answer("unknown", detail=answer.detail)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def _log_in(self, credentials: Credentials) -> Session:
        login = self._description.login
        secrets = tuple(credentials.fields.values())
        values = secrets_of(credentials)
        try:
            if login is None:
                return Session(
                    Answer("valid", detail="nothing to log in to"), self._session_headers(values, []), secrets
                )
            response = await self._send(self._exchange(login, values, []))
        except Unfit as error:
            return Session(answer_of("bad_credentials", str(error), secrets))
        except (NotSent, NoAnswer) as error:
            return Session(answer_of("unavailable", str(error), secrets))
        token, cookies = text_at(_document(response), login.token), _cookies_of(response)
        given = [cookie.partition("=")[2] for cookie in cookies]
        secrets = (*secrets, *(value for value in given if len(value) >= UNLIKELY), *([token] if token else []))
        answer = self._read(response, login, "unavailable", secrets)
        if answer.finding != "valid":
            return Session(answer)
        try:
            headers = self._session_headers({**values, **({"token": token} if token else {})}, cookies)
        except Unfit as error:
            return Session(answer_of("unavailable", str(error), secrets))
        return Session(answer, headers, secrets)

    def _session_headers(self, values: Values, cookies: list[str]) -> Headers:
        session = self._description.session
        headers = [(name, fill_header(text, values)) for name, text in session.headers.items()]
        return [*headers, ("Cookie", "; ".join(cookies))] if session.cookies and cookies else headers

    def _exchange(self, request: Request, values: Values, headers: Headers) -> Exchange:
        body = b"" if request.body is None else _encoded(fill_json(request.body, values))
        written = [(name, fill_header(text, values)) for name, text in request.headers.items()]
        return self._bytes_of(request.method, fill_path(request.path, values), [*written, *headers], body)

    def _bytes_of(self, method: str, path: str, headers: Headers, body: bytes = b"") -> Exchange:
        ours = [("Host", self._host), ("User-Agent", "holdfast"), ("Accept", "application/json")]
        # unpacked: what is counted is all there is
        ours.append(("Accept-Encoding", "identity"))
        if body:
            ours.append(("Content-Type", "application/json"))
        given = {name.lower() for name, _ in headers}
        # a body of no length would not end
        length = [("Content-Length", str(len(body)))] if body or method not in {"GET", "HEAD"} else []
        kept = [(name, value) for name, value in ours if name.lower() not in given]
        return Exchange(method, self._prefix + path, [*kept, *headers, *length], body)

    async def _connect(self) -> Connection:
        if self._connection is None or self._connection.lost.is_set():
            self._connection = await Connection.open(self._origin, self._description.limits.connect)
        return self._connection

    async def _send(self, exchange: Exchange) -> Response:
        connection = await self._connect()
        if not connection.send(exchange):
            msg = "the provider closed the connection"
            raise NotSent(msg)
        return await self._answer(connection, exchange)

    async def _answer(self, connection: Connection, exchange: Exchange) -> Response:
        limits = self._description.limits
        return await connection.answer(exchange, limits.first_byte, limits.whole)

    async def _fire(self, exchange: Exchange, fire: Fire) -> Response:
        keeper = asyncio.create_task(self._keep_open())
        try:
            await fire()
            connection = self._connection
            is_sent = connection is not None and connection.send(exchange)
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
        if connection is None or not is_sent:
            return await self._send(exchange)
        return await self._answer(connection, exchange)

    async def _keep_open(self) -> None:
        while True:
            if self._connection is not None:
                await self._connection.lost.wait()
            try:
                await self._connect()
            except NotSent:
                self._connection = None
            await asyncio.sleep(REOPEN_SECONDS)

    def _read(
        self,
        response: Response,
        request: Login | Booking | Lookup,
        fallback: Finding,
        secrets: Iterable[str],
        confirmation: str | None = None,
    ) -> Answer:
        finding, why = finding_of(response, request.rules, str(self._description.base_url), fallback)
        document = _document(response)
        words = [f"status {response.status}", why, text_at(document, request.message) or ""]
        return answer_of(
            finding,
            ": ".join(word for word in words if word),
            secrets,
            confirmation=text_at(document, confirmation),
            retry_after=retry_after_of(response),
        )

    async def _look(self) -> Reading | None:
        probe = self._description.clock
        # an answer that somebody kept shows the time at which it was made
        exchange = self._bytes_of(probe.method, probe.path, [("Cache-Control", "no-cache")])
        try:
            response = await self._send(exchange)
        except (NotSent, NoAnswer):
            return None
        shown = _time_of(response.header(probe.header) or "", probe.unit)
        if shown is None or response.header("age") not in {None, "0"}:
            return None
        step = 1.0 if probe.unit == "date" else 0.001
        return Reading(response.sent_at, response.received_at, shown, step)


def _document(response: Response) -> object:
    try:
        return document_of(response)
    except ValueError:
        return None


def _time_of(text: str, unit: str) -> float | None:
    if unit == "date":
        return http_date(text)
    return int(text) / 1000 if re.fullmatch(r"[0-9]{1,15}", text) else None


def _key_header(booking: Booking, order: Order) -> Headers:
    if booking.idempotency_header is None:
        return []
    return [(booking.idempotency_header, fill_header("{idempotency_key}", values_of(order)))]


def _encoded(body: object) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        msg = "the order is no JSON"
        raise Unfit(msg) from None


def _cookies_of(response: Response) -> list[str]:
    pairs = [value.partition(";")[0].strip() for name, value in response.headers if name == "set-cookie"]
    cookies = [pair for pair in pairs if re.fullmatch(r"[!-:<-~]+=[ -:<-~]*", pair)]
    return cookies if sum(map(len, cookies)) <= MAX_COOKIES else []
