"""Bodies have an end: no more than MAX_BODY_SIZE is read, and not for longer than a body may take."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import deadlines
from app.errors import Problem

# Bytes. The largest honest body, 1000 slots, is about 150 KiB.
MAX_BODY_SIZE = 256 * 1024


class BodyLimit:
    """ASGI middleware: passes a request on when its body is here, so that a slow one costs a socket and no more.

    Raises Problem `too_large` and `request_timeout`. Whoever hangs up half way is not answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(deadlines.BODY):
                body = await _read(receive)
        except TimeoutError:
            raise Problem("request_timeout") from None
        if body is None:
            return
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_whole() -> Message:
            return unread.pop() if unread else await receive()

        await self.app(scope, receive_whole, send)


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None if its sender hung up. Raises Problem `too_large`."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_SIZE:
            raise Problem("too_large")
        if not message.get("more_body"):
            return bytes(body)
