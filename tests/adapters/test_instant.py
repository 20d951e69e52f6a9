"""At the instant: a hundred adapters send at once, over TLS as well, and none before."""

import asyncio
import ssl
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from app.adapters.adapter import Answer
from app.adapters.http_json import HttpJsonAdapter
from app.adapters.wire import tls_context
from tests.adapters.certificates import certificate_for
from tests.adapters.support import CREDENTIALS, LIMITS, ORDER, Canned, booked, http, plain

ADAPTERS = 100
# What a busy machine never stops for; `make bench` measures what stands in docs/providers.md.
LATE = 5.0


class Arrivals(Canned):
    """Keeps when each request came."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(http(201, '{"id": 7}'), tls=tls)
        self.times: list[float] = []

    def note(self) -> None:
        self.times.append(time.monotonic())


async def all_at(instant: float, server: Canned) -> list[Answer]:
    """What becomes of a hundred orders that wait for the instant."""

    async def fire() -> None:
        while (left := instant - time.monotonic()) > 0:  # noqa: ASYNC110 - a timer may be early
            await asyncio.sleep(left)

    settings = {**plain(server.url), "limits": {**LIMITS, "first_byte": 5.0, "whole": 5.0}}
    adapters = [HttpJsonAdapter.of(settings) for _ in range(ADAPTERS)]
    try:
        return await asyncio.gather(*(adapter.book(ORDER, CREDENTIALS, fire) for adapter in adapters))
    finally:
        await asyncio.gather(*(adapter.close() for adapter in adapters))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for this machine, with its key, that nobody else has signed."""
    return certificate_for(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """The certificate as a server has it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The certificate is trusted for this test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


async def test_a_hundred_send_at_the_instant_and_none_before() -> None:
    async with Arrivals() as server:
        instant = time.monotonic() + 1.0
        answers = await all_at(instant, server)

    assert {answer.finding for answer in answers} == {"booked"}
    assert server.connections == len(server.times) == ADAPTERS
    assert instant <= min(server.times)
    assert sorted(server.times)[ADAPTERS - 2] - instant < LATE


@pytest.mark.usefixtures("trusted")
async def test_a_hundred_send_at_the_instant_over_tls(tls: ssl.SSLContext) -> None:
    async with Arrivals(tls) as server:
        instant = time.monotonic() + 2.0
        answers = await all_at(instant, server)

    assert {answer.finding for answer in answers} == {"booked"}
    assert server.connections == len(server.times) == ADAPTERS
    assert instant <= min(server.times)
    assert sorted(server.times)[ADAPTERS - 2] - instant < LATE


async def test_nothing_is_sent_to_a_host_whose_certificate_is_not_trusted(tls: ssl.SSLContext) -> None:
    async with Canned(http(201, '{"id": 7}'), tls=tls) as server:
        answer = await booked(plain(server.url))

    assert (answer.finding, answer.detail) == ("unavailable", "no connection: SSLCertVerificationError")
    assert server.received == []
