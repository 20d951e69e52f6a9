"""The hostile answers."""

import asyncio
import email.utils
import socket
import struct
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse

from app.simulator.world import Fault

HUGE = 50 * 1024 * 1024
CHUNK = 64 * 1024
DRIP_SECONDS = 0.1
WAIT_SECONDS = 7


JSON_ERRORS = {
    "error": (500, {"error": "internal", "message": "Something broke."}),
    "full": (409, {"error": "full", "message": "This class is full."}),
    "expired": (401, {"error": "bad_credentials", "message": "The session has ended."}),
}


async def hostile(fault: Fault, request: Request, now: float) -> Response:
    """What such a fault answers at that time, if anything."""
    match fault.kind:
        case "hang":
            while (await request.receive())["type"] != "http.disconnect":
                pass
        case "reset":
            _reset(request.state.transport)
        case kind:
            return _answer(kind, fault, now)
    return Response()


def _answer(kind: str, fault: Fault, now: float) -> Response:
    if kind in JSON_ERRORS:
        status, document = JSON_ERRORS[kind]
        return JSONResponse(document, status)
    until = email.utils.formatdate(int(now) + WAIT_SECONDS, usegmt=True)
    responses: dict[str, Callable[[], Response]] = {
        "too_many": lambda: JSONResponse({"error": "slow_down"}, 429, {"Retry-After": str(WAIT_SECONDS)}),
        "too_many_until": lambda: JSONResponse({"error": "slow_down"}, 503, {"Retry-After": until}),
        "html": lambda: HTMLResponse("<!doctype html><title>Welcome</title><p>Our site is being improved.</p>", 201),
        "huge": lambda: StreamingResponse(_huge(), 201, {"Content-Length": str(HUGE)}, "application/json"),
        "drip": lambda: StreamingResponse(_drip(), 201, media_type="application/json"),
        "redirect": lambda: RedirectResponse(fault.location, 307),
    }
    return responses[kind]()


def _reset(transport: asyncio.Transport) -> None:
    if transport.is_closing():
        # whoever asked is gone
        return
    # lingering for no time makes it a reset, and not an end in good order
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _huge() -> AsyncIterator[bytes]:
    for _ in range(HUGE // CHUNK):
        yield b"[" * CHUNK


async def _drip() -> AsyncIterator[bytes]:
    while True:
        yield b" "
        await asyncio.sleep(DRIP_SECONDS)
