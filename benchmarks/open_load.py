"""Load that does not wait: requests leave at their moment, whatever became of those before, as those of strangers do.

`python -m benchmarks.open_load` reads an Order with a rate as JSON on standard input and prints an Outcome as JSON.
"""

import asyncio
import json
import sys
import time
from collections import defaultdict, deque
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from benchmarks.figures import percentile
from benchmarks.load import Bookings, Order

PATIENCE = 30
TICK = 0.002
# Seconds until as many wait as ever do: what is answered before, and what is still waiting at the end, is not counted.
WARM_UP = 3


@dataclass(frozen=True)
class Outcome:
    """What came back of one rate: per second, and in milliseconds from the moment at which a request was due."""

    done: float
    refused: float
    others: dict[str, int]
    done_p99_ms: float
    refused_p99_ms: float
    health_p99_ms: float


class Connection(asyncio.Protocol):
    """One of as many as there are requests under way."""

    def __init__(self, crowd: "Crowd") -> None:
        self._crowd = crowd
        self._received = b""
        self._due_at = 0.0
        self._kind = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be there."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self, request: bytes, due_at: float, kind: str = "") -> None:
        """Send it; the time counts from when it was due."""
        self._due_at, self._kind = due_at, kind
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take in an answer, or a part of one."""
        received = self._received + data
        head_end = received.find(b"\r\n\r\n")
        begin = received.find(b"\r\ncontent-length: ") + 18
        if head_end < 0 or len(received) < head_end + 4 + int(received[begin : received.index(b"\r\n", begin)]):
            self._received = received
            return
        self._received = b""
        self._crowd.hear(self._kind or received[9:12].decode(), time.perf_counter() - self._due_at)
        self._crowd.idle.append(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Count a request that gets no answer."""
        if self in self._crowd.idle:
            self._crowd.idle.remove(self)
        else:
            self._crowd.hear("lost", 0)


class Crowd:
    """Strangers who come at a rate."""

    def __init__(self, order: Order, rate: float) -> None:
        self._order, self._rate = order, rate
        # the one that has rested longest is next, so that all are in use, and all processes
        self.idle: deque[Connection] = deque()
        self._answers = 0
        self._begins_at = self._ends_at = 0.0
        self._heard: dict[str, list[float]] = defaultdict(list)

    def hear(self, what: str, seconds: float) -> None:
        """One answer."""
        self._answers += 1
        if self._begins_at <= time.perf_counter() < self._ends_at or what not in ("201", "503"):
            self._heard[what].append(seconds * 1000)

    def _say(self, group: asyncio.TaskGroup, request: bytes, due_at: float, kind: str = "") -> None:
        if self.idle:
            self.idle.popleft().send(request, due_at, kind)
        else:
            group.create_task(self._connect_and_say(request, due_at, kind))

    async def _connect_and_say(self, request: bytes, due_at: float, kind: str) -> None:
        (await self._connect()).send(request, due_at, kind)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._order.port)
        return connection

    async def _gather(self) -> None:
        """Have as many connections as requests come in a second, as a proxy keeps."""
        for _ in range(round(self._rate)):
            self.idle.append(await self._connect())

    async def run(self) -> Outcome:
        """Come for as long as was ordered, and wait for the last answer."""
        bookings = Bookings(self._order)
        health = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{self._order.port}\r\n\r\n".encode()
        await self._gather()
        began, sent, asked = time.perf_counter(), 0, 0
        self._begins_at, self._ends_at = began + WARM_UP, began + WARM_UP + self._order.seconds
        async with asyncio.TaskGroup() as group:
            while (elapsed := time.perf_counter() - began) < WARM_UP + self._order.seconds:
                while sent < elapsed * self._rate:
                    self._say(group, bookings.make(), began + sent / self._rate)
                    sent += 1
                while asked < elapsed * 10:
                    self._say(group, health, time.perf_counter(), "health")
                    asked += 1
                await asyncio.sleep(TICK)
        async with asyncio.timeout(PATIENCE):
            while self._answers < sent + asked:  # noqa: ASYNC110 - of sockets
                await asyncio.sleep(TICK)
        return self._outcome()

    def _outcome(self) -> Outcome:
        heard = {what: sorted(times) for what, times in self._heard.items()}
        done, refused, health = (heard.pop(what, []) for what in ("201", "503", "health"))
        seconds = self._order.seconds
        return Outcome(
            done=len(done) / seconds,
            refused=len(refused) / seconds,
            others={what: len(times) for what, times in heard.items()},
            done_p99_ms=percentile(done, 99) if done else 0,
            refused_p99_ms=percentile(refused, 99) if refused else 0,
            health_p99_ms=percentile(health, 99) if health else 0,
        )


if __name__ == "__main__":
    given = json.load(sys.stdin)
    given_rate = given.pop("rate")
    print(json.dumps(asdict(uvloop.run(Crowd(Order(**given), given_rate).run()))))
