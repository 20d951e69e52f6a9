"""An order at a provider that does not behave: never an exception, never a second request, never a wrong word."""

import asyncio
import email.utils
import socket
import time

import pytest

from app.adapters.adapter import Finding
from tests.adapters.support import (
    CREDENTIALS,
    LIMITS,
    ORDER,
    PASSWORD,
    Canned,
    Simulator,
    adapter_of,
    booked,
    http,
    plain,
)


@pytest.mark.parametrize(
    ("kind", "finding", "detail"),
    [
        ("hang", "unknown", "no answer in time"),
        ("reset", "unknown", "the connection broke, or what came is not HTTP"),
        ("error", "unknown", "status 500: no rule fits: Something broke."),
        ("full", "full", "status 409: This class is full."),
        ("expired", "bad_credentials", "status 401: The session has ended."),
        ("html", "unknown", "status 201: not the JSON that was expected"),
        ("huge", "unknown", "status 201: not the JSON that was expected"),
        ("drip", "unknown", "no answer in time"),
        ("too_many", "rate_limited", "status 429"),
        ("too_many_until", "rate_limited", "status 503"),
    ],
)
@pytest.mark.parametrize("after", [False, True])
async def test_each_fault_has_its_finding_and_costs_one_request(
    simulator: Simulator, kind: str, finding: Finding, detail: str, after: bool
) -> None:
    await simulator.fail(kind, after=after)

    answer = await booked(simulator.settings)

    assert (answer.finding, answer.detail, answer.confirmation) == (finding, detail, None)
    assert len(await simulator.requests("booking")) == 1
    assert len(await simulator.bookings()) == int(after)


@pytest.mark.parametrize("kind", ["hang", "reset", "error", "html", "drip", "huge"])
async def test_a_login_that_fails_leaves_the_order_unsent(simulator: Simulator, kind: str) -> None:
    await simulator.fail(kind, on="login")

    answer = await booked(simulator.settings)

    assert answer.finding == "unavailable"
    assert await simulator.requests("booking") == []


@pytest.mark.parametrize("kind", ["hang", "reset", "error", "html", "huge", "drip", "redirect"])
async def test_a_lookup_that_fails_proves_nothing(simulator: Simulator, kind: str) -> None:
    await simulator.fail(kind, on="lookup", location="http://elsewhere.example/")

    async with adapter_of(simulator.settings) as adapter:
        answer = await adapter.lookup(ORDER, CREDENTIALS)

    assert answer.finding == "unknown"


@pytest.mark.parametrize("on", ["login", "booking", "lookup"])
async def test_an_adapter_goes_on_after_a_fault(simulator: Simulator, on: str) -> None:
    await simulator.fail("hang", on=on)
    async with adapter_of(simulator.settings) as adapter:

        async def tried() -> list[str]:
            async def fire() -> None:
                pass

            return [
                (await adapter.book(ORDER, CREDENTIALS, fire)).finding,
                (await adapter.lookup(ORDER, CREDENTIALS)).finding,
            ]

        await tried()

        assert await tried() == ["booked", "booked"]


async def test_a_slow_answer_ends_with_the_patience_for_the_whole(simulator: Simulator) -> None:
    await simulator.fail("drip")
    began = time.monotonic()

    await booked(simulator.settings)

    assert LIMITS["whole"] <= time.monotonic() - began < LIMITS["whole"] + 5


async def test_a_provider_that_nobody_answers_for_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    answer = await booked(plain(url))

    assert (answer.finding, answer.detail) == ("unavailable", "no connection: ConnectionRefusedError")


async def test_a_provider_that_goes_away_before_the_instant_is_unavailable() -> None:
    async with Canned(http(201, '{"id": 7}')) as provider, adapter_of(plain(provider.url)) as adapter:

        async def fire() -> None:
            await provider.is_connected(1)
            await provider.__aexit__()
            # the end of the connection has to get here
            await asyncio.sleep(0.1)

        answer = await adapter.book(ORDER, CREDENTIALS, fire)

    assert answer.finding == "unavailable"
    assert provider.received == []


async def test_a_name_that_does_not_exist_is_unavailable() -> None:
    assert (await booked(plain("https://nobody.invalid"))).finding == "unavailable"


@pytest.mark.parametrize("status", [302, 303, 307, 308])
async def test_no_credential_follows_a_redirect_to_another_host(simulator: Simulator, status: int) -> None:
    async with Canned(http(200, '{"token": "t", "id": 1}')) as other:
        away = http(status, Location=f"{other.url}/collect")
        async with Canned(away) as provider:
            login = {**simulator.settings["login"]}
            settings = {**plain(provider.url), "login": login}

            answer = await booked(settings)

            assert answer.finding == "refused"
            assert answer.detail == f"status {status}: a redirect to another host, which was not followed"
            assert len(provider.received) == 1
        assert (other.connections, other.received) == (0, [])


async def test_a_booking_that_is_redirected_to_another_host_is_refused(simulator: Simulator) -> None:
    async with Canned(http(201, '{"status": "confirmed"}')) as other:
        await simulator.fail("redirect", location=f"{other.url}/bookings")

        answer = await booked(simulator.settings)

        assert answer.finding == "refused"
        assert other.connections == 0
    assert await simulator.bookings() == []


async def test_a_redirect_at_the_same_host_is_not_followed_and_says_nothing(simulator: Simulator) -> None:
    await simulator.fail("redirect", location="/status")

    answer = await booked(simulator.settings)

    assert answer.finding == "unknown"
    assert await simulator.requests("status") == []


@pytest.mark.parametrize(
    ("status", "finding"),
    [(200, "unknown"), (201, "booked"), (404, "unknown"), (503, "unknown"), (429, "rate_limited")],
)
async def test_a_status_without_a_rule_proves_nothing(status: int, finding: Finding) -> None:
    async with Canned(http(status, '{"id": 7}')) as provider:
        assert (await booked(plain(provider.url))).finding == finding


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Wed, 01 May 2030 10:00:09 GMT", 9.0),
        ("Wednesday, 01-May-30 10:00:09 GMT", 9.0),
        ("Wed May  1 10:00:09 2030", 9.0),
        ("Wed, 01 May 2030 09:00:00 GMT", 0.0),
        ("999999999", 86400.0),
        ("-5", None),
        ("1e3", None),
        ("soon", None),
        ("", None),
    ],
)
async def test_each_form_of_retry_after_is_read(value: str, seconds: float | None) -> None:
    answer_at_ten = http(429, "{}", Retry_After=value, Date="Wed, 01 May 2030 10:00:00 GMT")
    async with Canned(answer_at_ten) as provider:
        answer = await booked(plain(provider.url))

    assert (answer.finding, answer.retry_after) == ("rate_limited", seconds)


async def test_a_date_to_retry_after_counts_from_now_where_the_answer_has_none() -> None:
    until = email.utils.formatdate(time.time() + 30, usegmt=True)
    async with Canned(http(503, "{}", Retry_After=until)) as provider:
        answer = await booked(plain(provider.url))

    assert answer.finding == "rate_limited"
    assert answer.retry_after == pytest.approx(29, abs=2)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 100,
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 90\r\n\r\n{}",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 201 Created\r\nX: " + b"x" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        http(201, "[" * 60_000),
        http(201, '{"id": NaN'),
        http(201, '"id"'),
        http(201, '{"id": null}'),
        http(201, "9" * 5000),
        http(201, '{"id": "\\ud800"') + b"\xff",
    ],
)
async def test_nonsense_proves_nothing(answer: bytes) -> None:
    async with Canned(answer, hold=False) as provider:
        assert (await booked(plain(provider.url))).finding == "unknown"
        assert len(provider.received) == 1


async def test_a_page_of_html_proves_no_booking_even_to_a_rule_of_its_status() -> None:
    rules = [{"finding": "booked", "status": 200}, {"finding": "refused", "status": 404}]
    async with Canned(http(200, "<p>Welcome"), http(404, "<p>Gone"), http(200, "{}"), http(200)) as provider:
        answers = [await booked(plain(provider.url, rules=rules)) for _ in range(4)]

    assert [answer.finding for answer in answers] == ["unknown", "refused", "booked", "booked"]


@pytest.mark.parametrize(
    ("length", "finding"), [(64 * 1024, "booked"), (64 * 1024 + 1, "unknown"), (1024 * 1024, "unknown")]
)
async def test_sixty_four_kibibytes_of_an_answer_are_read(length: int, finding: Finding) -> None:
    body = '{"id": "' + "x" * (length - 10) + '"}'
    async with Canned(http(201, body)) as provider:
        answer = await booked(plain(provider.url, confirmation="id"))

    assert answer.finding == finding
    assert len(answer.confirmation or "") <= 200


async def test_what_nobody_asked_for_is_not_taken_for_an_answer() -> None:
    smuggled = http(401, "{}") + http(201, '{"id": "smuggled"}')
    login = {"path": "/login", "rules": [{"finding": "valid", "status": 401}]}
    async with Canned(smuggled, http(201, '{"id": "real"}')) as provider:
        answer = await booked({**plain(provider.url, confirmation="id"), "login": login})

    assert answer.confirmation == "real"
    assert provider.connections == 2


async def test_an_order_that_is_cancelled_leaves_nothing_open(simulator: Simulator) -> None:
    await simulator.fail("hang")
    async with adapter_of({**simulator.settings, "limits": {"first_byte": 30.0, "whole": 60.0}}) as adapter:
        fired = asyncio.Event()

        async def fire() -> None:
            fired.set()

        order = asyncio.create_task(adapter.book(ORDER, CREDENTIALS, fire))
        await fired.wait()
        await asyncio.sleep(0)
        order.cancel()
        done, _ = await asyncio.wait([order], timeout=2)

    assert done
    assert order.cancelled()


async def test_the_rate_limit_of_the_simulator_is_told(simulator: Simulator) -> None:
    await simulator.behave(requests_per_second=1)

    answer = await booked(simulator.settings)

    assert (answer.finding, answer.retry_after) == ("rate_limited", 1.0)
    assert PASSWORD not in repr(answer)
