"""A receiver of webhooks in a process of its own: `python -m benchmarks.receiver` says where, then counts what comes.

It answers each POST with 204, and a GET with how many came and how many ids there were among them.
"""

import asyncio
import json
import re

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *(\S+)", re.IGNORECASE)


class Receiver:
    """Counts requests by their ids."""

    def __init__(self) -> None:
        self.requests = 0
        self.ids: set[bytes] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        head = await reader.readuntil(b"\r\n\r\n")
        if length := _LENGTH.search(head):
            await reader.readexactly(int(length[1]))
        if found := _ID.search(head):
            self.requests += 1
            self.ids.add(found[1])
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        else:
            body = json.dumps({"requests": self.requests, "ids": len(self.ids)}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()


async def receive() -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(Receiver().answer, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(receive())
