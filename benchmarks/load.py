"""The load generator: a process of its own, as lean as Python gets, since it shares the cores with what it measures.

`python -m benchmarks.load` reads an Order as JSON on standard input and prints a Run as JSON.
"""

import asyncio
import json
import math
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from benchmarks.booking import CUSTOMER_NAME, CUSTOMER_PREFIX, FIRST_CUSTOMER, METADATA, SLOT_PREFIX, USER_AGENT
from benchmarks.figures import Run, percentile

PATIENCE = 30
LOST = "lost"
"""Counted in the place of a status, for a request that got no answer."""


@dataclass(frozen=True)
class Order:
    """What to send, where, and for how long: bookings of some slots, or the same question again and again."""

    port: int
    api_key: str
    clients: int
    seconds: float
    first_slot: int = 0
    slots: int = 0
    customers: int = 0
    question: str = ""
    """The address to GET, with its query; none for bookings."""
    etag: str = ""
    """What to send along as If-None-Match."""


class Questions:
    """Makes the same request again and again."""

    success = ("200", "304")

    def __init__(self, order: Order) -> None:
        known = f"If-None-Match: {order.etag}\r\n" if order.etag else ""
        self._request = (
            f"GET {order.question} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\nUser-Agent: {USER_AGENT}\r\n"
            f"Accept: application/json\r\n{known}\r\n"
        ).encode()

    def make(self) -> bytes:
        """The next request, whole."""
        return self._request


class Bookings:
    """Makes request after request, each with an Idempotency-Key of its own."""

    success = ("201",)

    def __init__(self, order: Order) -> None:
        body = (
            f'{{"slot_id": "{SLOT_PREFIX}%012d", "customer": {{"ref": "{CUSTOMER_PREFIX}%06d", '
            f'"name": "{CUSTOMER_NAME}"}}, "units": 1, "payment_method": "pay_on_arrival", "metadata": {METADATA}}}'
        )
        length = len(body % (order.first_slot, FIRST_CUSTOMER))
        # the shape of a UUID, as clients send
        key = f"{str(uuid.uuid4())[:24]}%012d"
        head = (
            "POST /v1/bookings HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{order.port}\r\n"
            f"Authorization: Bearer {order.api_key}\r\n"
            f"User-Agent: {USER_AGENT}\r\n"
            "Accept: application/json\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {length}\r\n"
            f"Idempotency-Key: {key}\r\n\r\n"
        )
        self._template = (head + body).encode()
        self._order = order
        self._made = 0

    def make(self) -> bytes:
        """The next request, whole."""
        self._made += 1
        slot = self._order.first_slot + int(random.random() * self._order.slots)  # noqa: S311 - nothing secret
        customer = FIRST_CUSTOMER + int(random.random() * self._order.customers)  # noqa: S311
        return self._template % (self._made, slot, customer)


class Session:
    """What the connections share: when to stop, what came back, and how long it took."""

    def __init__(self, success: tuple[str, ...]) -> None:
        self._success = success
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.deadline = math.inf
        self._began = self._cpu = 0.0
        self._done_before = self._answers_before = 0

    def begin(self, seconds: float) -> None:
        """Measure from now on, for so long."""
        self._done_before, self._answers_before = self._done(), len(self.seconds)
        self._began, self._cpu = time.perf_counter(), time.process_time()
        self.deadline = self._began + seconds

    def end(self) -> Run:
        """The figures since `begin`; what was done and what was not are all there were."""
        elapsed, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        latencies = sorted(second * 1000 for second in self.seconds[self._answers_before :])
        return Run(
            rate=(self._done() - self._done_before) / elapsed,
            done=self._done(),
            p50_ms=percentile(latencies, 50),
            p99_ms=percentile(latencies, 99),
            others={status: count for status, count in self.statuses.items() if status not in self._success},
            client_cpu_us=cpu / max(len(latencies), 1) * 1e6,
        )

    def _done(self) -> int:
        return sum(self.statuses[status] for status in self._success)


class Client(asyncio.Protocol):
    """One keep-alive connection: a request, its answer, the next request, until the time is up."""

    def __init__(self, make_request: Callable[[], bytes], session: Session) -> None:
        self._make_request = make_request
        self._session = session
        self._received = b""
        self._sent_at = 0.0
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[None] = loop.create_future()
        self.finished: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin at once."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take in an answer, or a part of one."""
        received = self._received + data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0 or len(received) < head_end + 4 + _content_length(received):
            self._received = received
            return
        self._received = b""
        self._session.seconds.append(time.perf_counter() - self._sent_at)
        self._session.statuses[received[9:12].decode()] += 1
        if not self.answered.done():
            self.answered.set_result(None)
        self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        """Count what we lose by it: the server hung up on a request, and what became of that is unknown."""
        if not self.finished.done():
            self._session.statuses[LOST] += 1
            self.finished.set_result(None)
        if not self.answered.done():
            self.answered.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        if self._sent_at < self._session.deadline:
            self._transport.write(self._make_request())
        else:
            self.finished.set_result(None)
            self._transport.close()


def _content_length(answer: bytes) -> int:
    # uvicorn writes names in lower case, and every answer of ours that has a body says its length
    begin = answer.find(b"\r\ncontent-length: ") + 18
    return 0 if begin < 18 else int(answer[begin : answer.index(b"\r\n", begin)])


async def send(order: Order) -> Run:
    """Carry out the order. Raises TimeoutError when an answer stays out."""
    loop = asyncio.get_running_loop()
    requests = Questions(order) if order.question else Bookings(order)
    make_request, session = requests.make, Session(requests.success)
    clients = []
    async with asyncio.timeout(order.seconds + PATIENCE):
        for _ in range(order.clients):
            # One after another, while those before are at work: a process that is idle then takes the newcomer. Opened
            # all at once, most of them may go to one process, and stay there.
            _, client = await loop.create_connection(lambda: Client(make_request, session), "127.0.0.1", order.port)
            await client.answered
            clients.append(client)
        session.begin(order.seconds)
        await asyncio.gather(*(client.finished for client in clients))
    return session.end()


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(send(Order(**json.load(sys.stdin)))))))
