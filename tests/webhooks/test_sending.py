"""Receivers that mean no good: each comes to its end, in time, and nothing goes where it may not."""

import asyncio
import itertools
import ssl
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509

from app.adapters.wire import MAX_BODY, tls_context
from app.webhooks.addresses import Resolve
from app.webhooks.sending import FORBIDDEN, MAX_ANSWER, Answer, Sender
from tests.adapters.certificates import certificate_for
from tests.adapters.support import Canned, http
from tests.webhooks.support import Behaviour, Received, Receiver, answers, hangs

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
BODY = b'{"id": "evt_1"}'
PATIENCE = 0.5
HANG = 10.0


async def post(url: str, resolve: Resolve | None = None) -> Answer:
    sender = (
        Sender(LOOPBACK, timeout=PATIENCE) if resolve is None else Sender(LOOPBACK, timeout=PATIENCE, resolve=resolve)
    )
    return await sender.post(url, [("webhook-id", "evt_1")], BODY)


def resolves_to(*addresses: str) -> Resolve:
    async def resolve(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return resolve


async def drips(_received: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drips_its_head(_received: Received, writer: asyncio.StreamWriter) -> None:
    for character in itertools.cycle(b"HTTP/1.1 200 OK\r\nX-Y: z"):
        writer.write(bytes([character]))
        await writer.drain()
        await asyncio.sleep(0.02)


async def hangs_up(_received: Received, writer: asyncio.StreamWriter) -> None:
    writer.close()


NO_ANSWER = "no answer in time"
NOT_HTTP = "the connection broke, or what came is not HTTP"
HOSTILE: dict[str, tuple[Behaviour, str]] = {
    "hangs": (hangs, NO_ANSWER),
    "drips its body": (drips, NO_ANSWER),
    "drips its head": (drips_its_head, NO_ANSWER),
    "hangs up": (hangs_up, NOT_HTTP),
    "speaks no HTTP": (answers(b"220 smtp.example.com ESMTP\r\n"), NOT_HTTP),
    "a head without an end": (answers(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 10_000), NOT_HTTP),
    "refuses": (answers(http(400)), "HTTP 400"),
    "only informs": (answers(b"HTTP/1.1 103 Early\r\n\r\n" * 3), NOT_HTTP),
}


@pytest.mark.parametrize(("behaviour", "error"), HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_receiver_comes_to_its_end_in_time(behaviour: Behaviour, error: str) -> None:
    async with Receiver(behaviour) as receiver:
        began = time.monotonic()
        answer = await post(receiver.url)

    assert answer.error == error
    assert time.monotonic() - began < HANG
    assert receiver.connections == 1


async def test_of_fifty_megabytes_the_beginning_is_read() -> None:
    sent = 0

    async def floods(_received: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n")
        for _ in range(800):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with Receiver(floods) as receiver:
        answer = await post(receiver.url)

    # it said that it has it
    assert (answer.error, answer.status, answer.text) == (None, 200, "x" * MAX_ANSWER)
    # what the system's own buffers take
    assert sent < 20_000_000
    assert MAX_BODY < 100_000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    async with Receiver() as elsewhere, Receiver(answers(http(status, Location=elsewhere.url))) as receiver:
        answer = await post(receiver.url)

    assert (answer.error, elsewhere.connections) == (f"HTTP {status}", 0)


async def test_an_answer_is_kept_so_that_it_can_be_stored() -> None:
    async with Canned(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na\0\xff\xc3b") as receiver:
        answer = await post(receiver.url)

    assert answer.text == "a���b"


async def test_the_request_is_what_a_plain_receiver_takes() -> None:
    async with Canned(http(200, "Accepted")) as receiver:
        answer = await post(f"{receiver.url}/hook/a%20b?key=1")

    head, _, body = receiver.received[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook/a%20b?key=1 HTTP/1.1"
    assert {line.lower() for line in lines[1:]} == {
        f"host: {receiver.url.removeprefix('http://')}",
        "content-type: application/json",
        "content-length: 15",
        "user-agent: holdfast",
        "connection: close",
        "webhook-id: evt_1",
    }
    assert (body, answer.text) == (BODY, "Accepted")


async def test_a_name_that_leads_into_a_private_network_is_not_dialled() -> None:
    async with Receiver() as receiver:
        sender = Sender(())
        url = f"http://localhost:{receiver.port}/"
        assert (await sender.post(url, [], BODY)).error == FORBIDDEN
        for address in ("127.0.0.1", "10.0.0.1", "::ffff:127.0.0.1"):
            private = Sender((), resolve=resolves_to("93.184.216.34", address))
            assert (await private.post(f"https://example.com:{receiver.port}/", [], BODY)).error == FORBIDDEN

    assert receiver.connections == 0


async def test_a_name_that_changes_its_answer_gains_nothing() -> None:
    asked = 0

    async def rebinds(_host: str, _port: int) -> list[str]:
        nonlocal asked
        asked += 1
        return ["127.0.0.2"] if asked == 1 else ["127.0.0.1"]

    async with Receiver(host="127.0.0.2") as first, Receiver() as second:
        second_port = await asyncio.start_server(lambda *_: None, "127.0.0.1", first.port)
        async with second_port:
            sender = Sender((ip_network("127.0.0.2/32"),), resolve=rebinds)
            once = await sender.post(f"http://rebind.example:{first.port}/", [], BODY)
            again = await sender.post(f"http://rebind.example:{second.port}/", [], BODY)

    # what was checked is what was dialled, under the name that was asked for; and it is checked each time
    assert (once.error, again.error, asked) == (None, FORBIDDEN, 2)
    assert [received.headers["host"] for received in first.received] == [f"rebind.example:{first.port}"]
    assert second.connections == 0


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    async with Receiver() as receiver:
        answer = await post(f"http://two.example:{receiver.port}/", resolves_to("127.0.0.9", "127.0.0.1"))

    assert answer.error is None


async def test_plain_http_goes_into_an_allowed_network_alone() -> None:
    public = Sender((), resolve=resolves_to("93.184.216.34"))

    assert (await public.post("http://example.com/", [], BODY)).error == FORBIDDEN


async def test_nobody_there_is_no_more_than_a_failure() -> None:
    async with Receiver() as receiver:
        url = receiver.url

    assert (await post(url)).error == "no connection: ConnectionRefusedError"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for receiver.example, that nobody else has signed."""
    return certificate_for(tmp_path, x509.DNSName("receiver.example"))


@pytest.fixture
def _trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


@pytest.mark.usefixtures("_trusted")
async def test_the_certificate_is_that_of_the_name_and_not_of_the_address(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    asked: list[str] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with Canned(http(200), tls=context) as receiver:
        port = receiver.url.rpartition(":")[2]
        right = await post(f"https://receiver.example:{port}/", resolves_to("127.0.0.1"))
        wrong = await post(f"https://other.example:{port}/", resolves_to("127.0.0.1"))

    assert (right.error, wrong.error) == (None, "no connection: SSLCertVerificationError")
    assert asked == ["receiver.example", "other.example"]
    assert len(receiver.received) == 1


HOSTS = [
    *("127.0.0.1", "127.1", "127.0.1", "0.0.0.0", "0", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1"),  # noqa: S104
    *("017700000001", "0177.0.0.1", "0177.1", "127.000.000.001", "127.0.0.1.", "localhost", "LOCALHOST", "localhost."),
    *("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::7f00:1]"),
    *("[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:7f00:1::1]"),
    *("[fe80::1]", "[fe80::1%25lo]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[2001::1]"),
    *("169.254.169.254", "0xa9fea9fe", "2852039166", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"),
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
    *("100.100.100.200", "168.63.129.16", "192.0.0.192", "240.0.0.1"),
]
SHAPES = [
    "http://{host}:{port}/",
    "https://{host}:{port}/",
    "http://{host}:{port}/?next=http://example.com/",
    "http://example.com@{host}:{port}/",
]
ODD = [
    *("", "/", "//", "http:", "http://", "https:///", "http://:{port}/", "//127.0.0.1:{port}/", "127.0.0.1:{port}"),
    *("ftp://127.0.0.1:{port}/", "file:///etc/passwd", "gopher://127.0.0.1:{port}/_GET", "unix:///tmp/socket"),
    *("http://127.0.0.1:{port}:80/", "http://127.0.0.1:99999/", "http://127.0.0.1:-1/", "http://127.0.0.1:port/"),
    *("http://[::1/", "http://[127.0.0.1]:{port}/", "http://[v1.x]:{port}/", "http://%31%32%37.0.0.1:{port}/"),
    *("http://127.0.0.1:{port}\\@example.com/", "http://127.0.0.1:{port}#@example.com/", "http://⑫7.⓪.⓪.①:{port}/"),
    *("http://127。0。0。1:{port}/", "http://\t127.0.0.1:{port}/", "http://127.0.0.1:{port}/\r\nHost: x", "\0"),
    *("http://127.0.0.1:{port}/ HTTP/1.1\r\nX: y", "http://loc\nalhost:{port}/", "http://" + "a" * 300 + ":{port}/"),
]


async def test_two_hundred_hostile_urls_reach_no_forbidden_address() -> None:
    async with AsyncExitStack() as stack:
        canary = await stack.enter_async_context(Receiver())
        six = Receiver(host="::1")
        six.port = canary.port
        await stack.enter_async_context(six)
        urls = [shape.format(host=host, port=canary.port) for host in HOSTS for shape in SHAPES]
        urls += [url.format(port=canary.port) for url in ODD]
        sender = Sender((), timeout=2)

        results = {url: await sender.post(url, [], BODY) for url in urls}

        assert len(results) >= 200
        assert canary.connections == six.connections == 0
        errors = {answer.error for answer in results.values()}
        assert errors == {FORBIDDEN, "the URL cannot be used", "the host is not known"}
        # it would have come through otherwise
        assert (await Sender(LOOPBACK).post(urls[0], [], BODY)).error is None
        assert canary.connections == 1
