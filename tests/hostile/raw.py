"""A socket that sends what no client library would, to a real server."""

import asyncio
from typing import NamedTuple


class Answer(NamedTuple):
    """What came back: the status, its head and its body; status 0 where the server only hung up."""

    status: int
    head: str
    body: str


async def send_raw(port: int, *pieces: bytes, half_close: bool = False) -> Answer:
    """The answer to these bytes, sent one piece after the other; with `half_close`, nothing can follow them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if half_close:
            writer.write_eof()
        return await _answer(reader)
    except ConnectionError:
        return Answer(0, "", "")
    finally:
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    async with asyncio.timeout(20):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return Answer(0, "", "")
        length = next((int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0)
        return Answer(int(head.split()[1]), head, (await reader.readexactly(length)).decode())


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A POST as it travels; its Content-Length may be a lie."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: here",
        *headers,
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
