"""What every request carries: an id that its answer, the logs and the audit trail share."""

import random
import re
import time
from uuid import UUID

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


def new_request_id() -> str:
    """A UUID that nobody has, and that sorts by its millisecond (RFC 9562, version 7).

    The trail's index of requests grows at its end then. It is no secret, so the system need not be
    asked for chance, which is dear.
    """
    milliseconds, chance = time.time_ns() // 1_000_000, random.getrandbits(74)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | chance >> 62 << 64 | 2 << 62 | chance & (1 << 62) - 1))


class RequestId:
    """ASGI middleware: takes the caller's X-Request-ID or makes one, and sends it back.

    Plain ASGI, so that a caller who hangs up cannot cancel a write half way.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if ACCEPTED_ID.fullmatch(given) else new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        await self.app(scope, receive, send_with_id)
