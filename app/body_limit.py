"""Bodies have an end: more than MAX_BODY_SIZE is not read."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes. The largest honest body, 1000 slots, is about 150 KiB.
MAX_BODY_SIZE = 256 * 1024


class BodyLimit:
    """ASGI middleware: a body that grows too large is answered as any other refusal, problem and request id and all."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        size = 0

        async def receive_within_limit() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY_SIZE:
                raise HTTPException(413)
            return message

        await self.app(scope, receive_within_limit, send)
