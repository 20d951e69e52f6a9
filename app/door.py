"""Who may not call is told so before their request is looked at."""

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security import Bearer


def bearers_of(dependant: Dependant) -> Iterator[Bearer]:
    """Every Bearer that a route depends on, directly or not."""
    if isinstance(dependant.call, Bearer):
        yield dependant.call
    for dependency in dependant.dependencies:
        yield from bearers_of(dependency)


class Door:
    """ASGI: a route behind its Bearers. FastAPI would parse the body first, and then ask who calls."""

    def __init__(self, app: ASGIApp, bearers: list[Bearer]) -> None:
        self.app = app
        self.bearers = bearers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of somebody who may make it. Raises what a Bearer raises."""
        for bearer in self.bearers:
            await bearer(Request(scope))
        await self.app(scope, receive, send)
