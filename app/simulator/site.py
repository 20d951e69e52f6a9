"""The provider's site, and the addresses under /control at which it is told how to behave and what happened."""

import asyncio
import email.utils
import json
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.simulator.faults import hostile
from app.simulator.world import Conduct, Endpoint, Fault, Reply, World

Told = TypeVar("Told", bound=BaseModel)
Handle = Callable[[Request], Awaitable[Response]]


def create_simulator(conduct: Conduct | None = None) -> Starlette:
    """A provider that nobody has booked at yet. `app.simulator.serving` can serve all of it, resets too."""
    site = Site(World(conduct or Conduct()))
    return Starlette(
        routes=[
            Route("/status", site.played("status", site.status), methods=["GET"]),
            Route("/login", site.played("login", site.log_in), methods=["POST"]),
            Route("/bookings", site.played("booking", site.book), methods=["POST"]),
            Route("/bookings", site.played("lookup", site.look_up), methods=["GET"]),
            Route("/control/conduct", site.behave, methods=["PUT"]),
            Route("/control/faults", site.add_fault, methods=["POST"]),
            Route("/control/requests", site.requests, methods=["GET"]),
            Route("/control/bookings", site.bookings, methods=["GET"]),
        ]
    )


class Site:
    """One provider's site."""

    def __init__(self, world: World) -> None:
        self._world = world

    def played(self, endpoint: Endpoint, act: Callable[[Request, dict[str, Any]], Reply]) -> Handle:
        """The endpoint, which records that it was asked, and may answer otherwise than it should."""

        async def handle(request: Request) -> Response:
            arrived_at = self._world.now
            asked = _object(await request.body())
            self._record(endpoint, request, arrived_at)
            await asyncio.sleep(self._world.conduct.latency)
            fault = self._world.next_fault(endpoint)
            if fault is None or fault.after:
                reply = act(request, asked)
            response = (
                JSONResponse(reply.document, reply.status, reply.headers)
                if fault is None
                else await hostile(fault, request, self._world.now)
            )
            now = self._world.now
            response.headers["Date"] = email.utils.formatdate(math.floor(now), usegmt=True)
            response.headers["X-Server-Time-Ms"] = str(math.floor(now * 1000))
            return response

        return handle

    def status(self, _request: Request, _asked: dict[str, Any]) -> Reply:
        """A cheap page."""
        return Reply(200, {"status": "ok"})

    def log_in(self, _request: Request, asked: dict[str, Any]) -> Reply:
        """Let a customer in."""
        return self._limited() or self._world.log_in(asked)

    def book(self, request: Request, asked: dict[str, Any]) -> Reply:
        """Book."""
        return self._limited() or self._world.book(self._account(request), _key(request), asked)

    def look_up(self, request: Request, _asked: dict[str, Any]) -> Reply:
        """What was booked under a key."""
        return self._limited() or self._world.look_up(self._account(request), request.query_params.get("key"))

    async def behave(self, request: Request) -> Response:
        """Behave so from now on; what is left out is as at first."""
        self._world.behave(await _told(request, Conduct))
        return Response(status_code=204)

    async def add_fault(self, request: Request) -> Response:
        """Answer so, for once or for some times."""
        self._world.faults.append(await _told(request, Fault))
        return Response(status_code=204)

    async def requests(self, _request: Request) -> Response:
        """All requests that came, in order, with the time of arrival by its own clock."""
        return JSONResponse({"items": self._world.requests})

    async def bookings(self, _request: Request) -> Response:
        """All bookings that were made, in order."""
        return JSONResponse({"items": self._world.bookings})

    def _limited(self) -> Reply | None:
        return Reply(429, {"error": "slow_down"}, {"Retry-After": "1"}) if self._world.is_too_much() else None

    def _account(self, request: Request) -> str | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return self._world.account(token if scheme == "Bearer" else request.cookies.get("session"))

    def _record(self, endpoint: Endpoint, request: Request, arrived_at: float) -> None:
        self._world.requests.append(
            {
                "endpoint": endpoint,
                "method": request.method,
                "path": request.url.path,
                "query": request.url.query,
                "key": _key(request),
                "account": self._account(request),
                "arrived_at": arrived_at,
            }
        )


def _key(request: Request) -> str | None:
    return request.headers.get("idempotency-key")


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


async def _told(request: Request, kind: type[Told]) -> Told:
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise HTTPException(422, str(error)) from None
