"""What a customer stored is seen by the provider, and by nobody else."""

import base64
import json
import logging

import pytest
import structlog

from app.adapters.adapter import Credentials
from tests.adapters.support import (
    CREDENTIALS,
    ORDER,
    PASSWORD,
    USER,
    Canned,
    Simulator,
    adapter_of,
    at_once,
    http,
    plain,
)

TOKEN = "canary-token-0123456789"  # noqa: S105 - lets nobody in anywhere
COOKIE = "canary-cookie-9876543210"
ECHO = json.dumps({"token": TOKEN, "message": f"no {USER} {PASSWORD} {TOKEN} {COOKIE}", "id": f"x-{PASSWORD}-{TOKEN}"})


def parts(adapter: object, credentials: Credentials, answer: object) -> str:
    return repr((adapter, vars(adapter), credentials, ORDER, answer))


@pytest.mark.parametrize(("status", "finding"), [(201, "booked"), (409, "full"), (500, "unknown"), (200, "unknown")])
async def test_a_provider_that_repeats_secrets_gets_them_into_no_answer_and_no_log(
    caplog: pytest.LogCaptureFixture, status: int, finding: str
) -> None:
    caplog.set_level(logging.DEBUG)
    login = {
        "path": "/login",
        "body": {"u": "{credentials.user}", "p": "{credentials.password}"},
        "token": "token",
        "message": "message",
        "rules": [{"finding": "valid", "status": 200}],
    }
    rules = [{"finding": "booked", "status": 201}, {"finding": "full", "status": 409}]
    answers = http(200, ECHO, Set_Cookie=f"session={COOKIE}; Path=/"), http(status, ECHO)
    async with Canned(*answers) as provider:
        settings = plain(provider.url, rules=rules, confirmation="id", message="message")
        session = {"headers": {"Authorization": "Bearer {token}"}, "cookies": True}
        with structlog.testing.capture_logs() as logs:
            async with adapter_of({**settings, "login": login, "session": session}) as adapter:
                answer = await adapter.book(ORDER, CREDENTIALS, at_once)
                said = parts(adapter, CREDENTIALS, answer)

        assert answer.finding == finding
        assert f"Bearer {TOKEN}".encode() in provider.received[1]
        assert f"session={COOKIE}".encode() in provider.received[1]
        assert PASSWORD.encode() not in provider.received[1]
    told = said + str(logs) + caplog.text
    for secret in (USER, PASSWORD, TOKEN, COOKIE, base64.b64encode(PASSWORD.encode()).decode()):
        assert secret not in told


async def test_a_check_does_not_repeat_the_token_it_was_given() -> None:
    rules = [{"finding": "valid", "status": 200}]
    login = {"path": "/login", "token": "token", "message": "message", "rules": rules}
    welcome = http(200, ECHO, Set_Cookie=f"session={COOKIE}")
    async with Canned(welcome) as provider, adapter_of({**plain(provider.url), "login": login}) as adapter:
        answer = await adapter.check_credentials(CREDENTIALS)

    assert (answer.finding, answer.detail) == ("valid", "status 200: no *** *** *** ***")


async def test_credentials_that_fit_no_header_are_bad_and_are_not_repeated() -> None:
    async with Canned(http(201, '{"id": 1}')) as provider:
        settings = {**plain(provider.url), "session": {"headers": {"Authorization": "Bearer {credentials.token}"}}}
        async with adapter_of(settings) as adapter:
            answer = await adapter.book(ORDER, Credentials({"token": "canary\r\nX: y"}), at_once)

    assert (answer.finding, answer.detail) == ("bad_credentials", "credentials.token cannot be sent in a header")
    assert provider.received == []


async def test_a_session_is_one_customers(simulator: Simulator) -> None:
    await simulator.behave(accounts={"one": "password-1", "two": "password-2"})

    async with adapter_of(simulator.settings) as adapter:
        for user in ("one", "two"):
            credentials = Credentials({"user": user, "password": f"password-{'12'[user == 'two']}"})
            await adapter.book(ORDER, credentials, at_once)

    assert [made["account"] for made in await simulator.bookings()] == ["one", "two"]
