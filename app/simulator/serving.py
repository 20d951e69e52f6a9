"""Serves the simulator with uvicorn, whose connections it can break."""

import asyncio
import socket
import sys

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.simulator.site import create_simulator
from app.simulator.world import Conduct


class _Breakable(HttpToolsProtocol):
    """Hands each request the connection that it came over."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


def listen(port: int) -> tuple[socket.socket, str]:
    """A socket of this machine's own that takes connections, and its address. Port 0 is any that is free."""
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}"


def server_of(simulator: Starlette) -> uvicorn.Server:
    """What serves it: `serve` with the sockets of `listen`."""
    config = uvicorn.Config(
        simulator,
        http=_Breakable,
        log_level="error",
        access_log=False,
        # it shows a time of its own
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def play(conduct: Conduct, port: int) -> None:
    """Say on standard output where it listens, and serve until stopped."""
    listening, url = listen(port)
    sys.stdout.write(f"simulator listens on {url}\n")
    sys.stdout.flush()
    server_of(create_simulator(conduct)).run(sockets=[listening])
