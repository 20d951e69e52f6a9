"""No more requests are under way than can be served in time: the next is told at once to come back."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Problem, problem_answer, problem_response
from app.request_id import new_request_id

# Requests under way for each connection of the pool: one that has it, the others waiting. Few enough that a process
# which begins all of them at once still answers everybody else soon, and enough for the burst of an opening.
PER_CONNECTION = 16
# What tells how we are, and what does the work that is due within limits of its own, is never turned away.
ALWAYS = frozenset({"/healthz", "/readyz", "/readyz/jobs", "/metrics", "/cron/process-jobs"})
# the headers that an answer depends on
FURTHER_IN = frozenset({b"origin", b"x-request-id"})
STAND_IN = str(UUID(int=0))


class Places:
    """How many requests may still begin."""

    def __init__(self, number: int) -> None:
        self.free = number


def _needs_place(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["path"] not in ALWAYS


class Turnstile:
    """ASGI middleware, before all others: while no place is free, a request is refused as `busy`, its body unread.

    What it costs to refuse two of three requests is what the third lacks, so the answer is made beforehand, but for
    its id. Requests that bring an id, or come from another site's page, are refused by Admission.
    """

    def __init__(self, app: ASGIApp, places: Places, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.app = app
        self._places = places
        refusal = problem_answer(Problem("busy"), STAND_IN)
        self._headers = [(name, value) for name, value in refusal.raw_headers if name != b"x-request-id"] + [*headers]
        self._before, self._after = bytes(refusal.body).split(STAND_IN.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if self._places.free > 0 or not _needs_place(scope) or any(name in FURTHER_IN for name, _ in scope["headers"]):
            await self.app(scope, receive, send)
            return
        request_id = new_request_id().encode()
        headers = [*self._headers, (b"x-request-id", request_id)]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": self._before + request_id + self._after})


class Admission:
    """ASGI middleware: a request has a place, and so many seconds, until its answer begins; a stream needs neither.

    A place is taken when the body is here, or a slow one would hold it. Without a free one a request is refused as
    `busy`. Raises TimeoutError when the seconds are over.
    """

    def __init__(self, app: ASGIApp, places: Places, seconds: float) -> None:
        self.app = app
        self._places = places
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if not _needs_place(scope):
            await self.app(scope, receive, send)
        elif self._places.free > 0:
            await self._serve(scope, receive, send)
        else:
            await problem_response(Request(scope), Problem("busy"))(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        holds_place = True

        def leave() -> None:
            nonlocal holds_place
            self._places.free += holds_place
            holds_place = False

        self._places.free -= 1
        try:
            async with asyncio.timeout(self._seconds) as patience:

                async def send_and_leave(message: Message) -> None:
                    patience.reschedule(None)
                    leave()
                    await send(message)

                await self.app(scope, receive, send_and_leave)
        finally:
            leave()
