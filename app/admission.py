"""No more requests are under way than can be served in time: the next is told at once to come back."""

import asyncio

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Problem, problem_response

# Requests under way for each connection of the pool: one that has it, the others waiting. Few enough that a process
# which begins all of them at once still answers everybody else soon, and enough for the burst of an opening.
PER_CONNECTION = 16
# What tells how we are, and what does the work that is due within limits of its own, is never turned away.
ALWAYS = frozenset({"/healthz", "/readyz", "/readyz/jobs", "/metrics", "/cron/process-jobs"})


class Admission:
    """ASGI middleware: a request has a place, and so many seconds, until its answer begins; a stream needs neither.

    Without a free place it is refused as `busy` before anything looks at it, since refusing has to be cheap. Raises
    TimeoutError when the seconds are over.
    """

    def __init__(self, app: ASGIApp, places: int, seconds: float) -> None:
        self.app = app
        self._free = places
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self.app(scope, receive, send)
        elif self._free > 0:
            await self._serve(scope, receive, send)
        else:
            await problem_response(Request(scope), Problem("busy"))(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        holds_place = True

        def leave() -> None:
            nonlocal holds_place
            self._free += holds_place
            holds_place = False

        self._free -= 1
        try:
            async with asyncio.timeout(self._seconds) as patience:

                async def send_and_leave(message: Message) -> None:
                    patience.reschedule(None)
                    leave()
                    await send(message)

                await self.app(scope, receive, send_and_leave)
        finally:
            leave()
