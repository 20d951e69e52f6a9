"""What the tests of the examples share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

EXAMPLES = Path(__file__).parents[2] / "examples"
CRON = EXAMPLES / "cron"


class Gate:
    """A door before a server, which looks at every process's command line while a caller stands in it."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self.url = ""
        self.requests: list[str] = []
        self.command_lines: list[str] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Gate"]:
        """Let callers through until the block ends."""
        server = await asyncio.start_server(self._let_through, "127.0.0.1", 0)
        self.url = "http://{}:{}".format(*server.sockets[0].getsockname())
        async with server:
            yield self

    async def _let_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.decode())
        self.command_lines += _command_lines()
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        back.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        writer.write(await there.read())
        for stream in (back, writer):
            stream.close()
            await stream.wait_closed()


def _command_lines() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            # it has ended meanwhile
            continue
    return found
