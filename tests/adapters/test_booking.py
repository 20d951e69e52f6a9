"""An order at a provider that behaves: what is found, and how many requests it took."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app.adapters.adapter import Credentials, Finding
from tests.adapters.support import (
    CREDENTIALS,
    ORDER,
    USER,
    Canned,
    Simulator,
    adapter_of,
    at_once,
    booked,
    http,
    plain,
    until,
)

STRANGER = Credentials({"user": USER, "password": "wrong"})


async def test_an_order_is_booked_with_one_request_under_its_key(simulator: Simulator) -> None:
    answer = await booked(simulator.settings)

    assert (answer.finding, answer.confirmation) == ("booked", "SIM-0001")
    assert [request["key"] for request in await simulator.requests("booking")] == ["key-1"]
    assert [(made["class"], made["account"]) for made in await simulator.bookings()] == [("yoga", USER)]


async def test_an_order_that_is_sent_twice_is_booked_once_where_keys_are_honoured(simulator: Simulator) -> None:
    answers = [await booked(simulator.settings) for _ in range(2)]

    assert [answer.confirmation for answer in answers] == ["SIM-0001", "SIM-0001"]
    assert len(await simulator.bookings()) == 1


async def test_the_simulator_can_leave_keys_unheeded(simulator: Simulator) -> None:
    await simulator.behave(honours_idempotency_key=False)

    answers = [await booked(simulator.settings) for _ in range(2)]

    assert [answer.confirmation for answer in answers] == ["SIM-0001", "SIM-0002"]


@pytest.mark.parametrize(
    ("conduct", "finding", "detail"),
    [
        ({"capacity": 0}, "full", "status 409: This class is full."),
        ({"opens_at": 4e9}, "not_open_yet", "status 409: Booking has not opened."),
        ({"failure_rate": 1.0}, "unavailable", "status 503: Nothing was booked. Try again."),
    ],
)
async def test_a_refusal_is_found_as_what_it_is(
    simulator: Simulator, conduct: dict[str, Any], finding: Finding, detail: str
) -> None:
    await simulator.behave(**conduct)

    answer = await booked(simulator.settings)

    assert (answer.finding, answer.confirmation, answer.detail) == (finding, None, detail)
    assert len(await simulator.requests("booking")) == 1
    assert await simulator.bookings() == []


async def test_four_of_five_bookings_work_at_that_failure_rate(simulator: Simulator) -> None:
    await simulator.behave(failure_rate=0.2, seed=7, capacity=100)

    async with adapter_of(simulator.settings) as adapter:
        answers = [
            await adapter.book(replace(ORDER, idempotency_key=f"k{number}"), CREDENTIALS, at_once)
            for number in range(50)
        ]

    found = [answer.finding for answer in answers]
    assert set(found) == {"booked", "unavailable"}
    assert 5 <= found.count("unavailable") <= 16
    assert len(await simulator.bookings()) == found.count("booked")


async def test_a_wrong_password_stops_the_order_before_its_instant(simulator: Simulator) -> None:
    fired = asyncio.Event()

    async def fire() -> None:
        fired.set()

    async with adapter_of(simulator.settings) as adapter:
        answer = await adapter.book(ORDER, STRANGER, fire)

    assert answer.finding == "bad_credentials"
    assert not fired.is_set()
    assert await simulator.requests("booking") == []


async def test_credentials_are_checked_by_logging_in(simulator: Simulator) -> None:
    async with adapter_of(simulator.settings) as adapter:
        assert (await adapter.check_credentials(CREDENTIALS)).finding == "valid"
        assert (await adapter.check_credentials(STRANGER)).finding == "bad_credentials"
        lacking = await adapter.check_credentials(Credentials({"user": USER}))
    assert (lacking.finding, lacking.detail) == ("bad_credentials", "there is no credentials.password")

    assert len(await simulator.requests("login")) == 2


async def test_nothing_is_sent_before_the_instant(simulator: Simulator) -> None:
    instant = asyncio.Event()

    async def fire() -> None:
        await instant.wait()

    async def has_logged_in() -> bool:
        return bool(await simulator.requests("login"))

    async with adapter_of(simulator.settings) as adapter:
        order = asyncio.create_task(adapter.book(ORDER, CREDENTIALS, fire))
        await until(has_logged_in)
        done, _ = await asyncio.wait([order], timeout=0.2)
        early = await simulator.requests("booking")
        instant.set()
        answer = await order

    assert not done
    assert early == []
    assert answer.finding == "booked"


async def test_a_session_of_cookies_books_as_well(simulator: Simulator) -> None:
    answer = await booked({**simulator.settings, "session": {"cookies": True}})

    assert answer.finding == "booked"


async def test_an_order_is_found_again_by_its_key(simulator: Simulator) -> None:
    async with adapter_of(simulator.settings) as adapter:
        before = await adapter.lookup(ORDER, CREDENTIALS)
        await adapter.book(ORDER, CREDENTIALS, at_once)
        after = await adapter.lookup(ORDER, CREDENTIALS)

    assert before.finding == "absent"
    assert (after.finding, after.confirmation) == ("booked", "SIM-0001")


async def test_without_a_lookup_nobody_knows(simulator: Simulator) -> None:
    async with adapter_of({**simulator.settings, "lookup": None}) as adapter:
        assert (await adapter.lookup(ORDER, CREDENTIALS)).finding == "unknown"


async def test_a_connection_that_the_provider_closes_meanwhile_is_opened_again_before_the_instant() -> None:
    async with Canned(http(201, '{"id": 7}')) as provider:

        async def fire() -> None:
            await provider.is_connected(1)
            provider.hang_up()
            await provider.is_connected(2)

        async with adapter_of(plain(provider.url, confirmation="id")) as adapter:
            answer = await adapter.book(ORDER, CREDENTIALS, fire)

        assert (answer.finding, answer.confirmation) == ("booked", "7")
        assert (provider.connections, len(provider.received)) == (2, 1)


async def test_what_the_order_lacks_is_refused_before_anything_is_sent() -> None:
    async with Canned(http(201, '{"id": 7}')) as provider:
        answer = await booked(plain(provider.url, body={"room": "{target.room}"}))

        assert (answer.finding, answer.detail) == ("refused", "there is no target.room")
        assert provider.received == []


async def test_a_request_is_made_of_the_order() -> None:
    order = replace(ORDER, target={"class": "a/b ?#ü", "places": 2}, customer={"name": "Ana", "phone": None})
    settings = {
        "method": "PUT",
        "path": "/classes/{target.class}/book?n={target.places}",
        "headers": {"X-Name": "by {customer.name}"},
        "body": {
            "n": "{target.places}",
            "phone": "{customer.phone}",
            "all": ["{target.places} for {customer.name}", True],
        },
        "idempotency_header": "X-Key",
    }
    async with Canned(http(201, '{"id": 7}')) as provider:
        answer = await booked(plain(f"{provider.url}/api/", **settings), order)

    assert answer.finding == "booked"
    head, _, body = provider.received[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /api/classes/a%2Fb%20%3F%23%C3%BC/book?n=2 HTTP/1.1\r\n")
    assert b"X-Name: by Ana\r\n" in head
    assert b"X-Key: key-1\r\n" in head
    assert body == b'{"n": 2, "phone": null, "all": ["2 for Ana", true]}'


async def test_only_a_provider_with_a_header_for_it_honours_the_key(simulator: Simulator) -> None:
    async with adapter_of(simulator.settings) as one, adapter_of(plain(simulator.url)) as other:
        assert (one.honours_idempotency_key, other.honours_idempotency_key) == (True, False)
