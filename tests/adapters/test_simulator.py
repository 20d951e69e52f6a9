"""The simulator as a program of its own, and the hostile answers as bytes."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx2
import pytest

from app.adapters.adapter import Credentials
from app.simulator.provider import settings_for
from tests.adapters.support import ORDER, Simulator, booked


@pytest.fixture
def program() -> Iterator[str]:
    """The address of a simulator that was started by hand, and lets nothing be booked."""
    command = [sys.executable, "-m", "app.simulator", "--port", "0", "--failure-rate", "1", "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().removeprefix("simulator listens on ").strip()
        process.send_signal(signal.SIGTERM)
        process.wait(10)


async def test_it_says_where_it_listens_and_answers_by_then(program: str) -> None:
    credentials = Credentials({"user": "ana", "password": "correct horse battery"})

    assert (await booked(settings_for(program), ORDER, credentials)).finding == "unavailable"


async def test_what_it_is_told_wrongly_it_refuses(simulator: Simulator) -> None:
    with pytest.raises(httpx2.HTTPStatusError, match="422"):
        await simulator.fail("explode")
    with pytest.raises(httpx2.HTTPStatusError, match="422"):
        await simulator.behave(capacity=-1)


async def test_a_fault_is_played_as_often_as_was_told(simulator: Simulator) -> None:
    await simulator.fail("error", times=2)

    findings = [(await booked(simulator.settings)).finding for _ in range(3)]

    assert findings == ["unknown", "unknown", "booked"]


async def test_a_reset_comes_as_one(simulator: Simulator) -> None:
    await simulator.fail("reset", on="status")

    async with httpx2.AsyncClient(base_url=simulator.url) as client:
        with pytest.raises(httpx2.ReadError):
            await client.get("/status")


async def test_requests_carry_the_time_of_its_own_clock(simulator: Simulator) -> None:
    await simulator.behave(clock_ahead=3600)

    async with httpx2.AsyncClient(base_url=simulator.url) as client:
        answer = await client.get("/status")

    (request,) = await simulator.requests("status")
    assert int(answer.headers["X-Server-Time-Ms"]) / 1000 - request["arrived_at"] == pytest.approx(0, abs=5)


@pytest.mark.parametrize("body", [b"", b"null", b"[", b"\xff", b'{"user": {}, "password": null}'])
async def test_a_login_of_nonsense_is_a_wrong_password(simulator: Simulator, body: bytes) -> None:
    async with httpx2.AsyncClient(base_url=simulator.url) as client:
        assert (await client.post("/login", content=body)).status_code == 401
