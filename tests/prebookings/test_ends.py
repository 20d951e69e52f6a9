"""How a prebooking at a provider ends without a request, or by the hand of a person."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import httpx2
import pytest
import structlog

from app.adapters.adapter import Answer, Credentials
from app.adapters.http_json import HttpJsonAdapter
from app.database import Database
from app.log import configure_logging
from app.settings import Settings
from tests.adapters.support import PASSWORD, USER, Simulator
from tests.concurrency.rivals import until
from tests.credentials.support import SECOND, with_keys
from tests.credentials.test_canary import all_rows, assert_without
from tests.jobs.test_worker import at_work
from tests.prebookings.support import QUEUE, YOGA, Gym, now
from tests.prebookings.test_faults import BOOKED
from tests.sql.support import call_value, one

CANARY = "correct-horse-battery-staple"


async def test_whoever_gives_it_up_before_it_fires_has_nothing_booked(gym: Gym, admin: httpx2.AsyncClient) -> None:
    prebooking_id = await gym.prebook(opens_at=now() + timedelta(hours=1))

    answer = await admin.post(f"/v1/prebookings/{prebooking_id}/cancel", json={"reason": "ill"})
    await gym.try_again()

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert ((await gym.job())["status"], await gym.asked()) == ("cancelled", [])


async def test_whoever_gives_it_up_after_its_job_was_claimed_has_nothing_booked(gym: Gym) -> None:
    prebooking_id = await gym.prebook()
    await gym.conn.execute("SELECT FROM claim_jobs('test', $1, 1, '1 minute')", QUEUE)
    await gym.conn.execute("SELECT cancel_prebooking('{}', $1)", prebooking_id)
    await gym.conn.execute("SELECT rescue_jobs(10, now() + interval '1 hour')")
    await gym.try_again()

    assert (await gym.statuses(), await gym.simulator.requests("login")) == ({"cancelled": 1}, [])


async def test_what_is_being_executed_cannot_be_given_up(gym: Gym, admin: httpx2.AsyncClient) -> None:
    prebooking_id = await gym.prebook()
    await gym.simulator.fail("error")
    await gym.work()

    answer = await admin.post(f"/v1/prebookings/{prebooking_id}/cancel", json={})

    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")


async def test_nobody_asks_a_provider_that_is_disabled(gym: Gym) -> None:
    prebooking_id = await gym.prebook()
    await gym.put(json.dumps(gym.simulator.settings), p_is_enabled=False)

    await gym.work()

    assert await gym.end_of(prebooking_id) == ("failed", "provider_disabled", False)
    assert await gym.simulator.requests("login") == []


async def test_a_person_looks_where_a_provider_was_disabled_while_its_answer_was_unknown(gym: Gym) -> None:
    await gym.simulator.fail("reset", after=True)
    await gym.simulator.fail("error", on="lookup")
    prebooking_id = await gym.prebook()
    await gym.work()
    await gym.put(json.dumps(gym.simulator.settings), p_is_enabled=False)

    await gym.try_again()

    assert await gym.end_of(prebooking_id) == ("failed", "provider_disabled", True)


@pytest.mark.parametrize(
    ("adapter", "told", "detail"),
    [
        ("tennis", {}, "the adapter 'tennis' is not installed"),
        ("http_json", {}, "base_url"),
    ],
)
async def test_an_adapter_that_cannot_be_had_is_the_reason(
    gym: Gym, adapter: str, told: dict[str, str], detail: str
) -> None:
    prebooking_id = await gym.prebook()
    await gym.put(json.dumps(told), p_adapter=adapter)

    await gym.work()

    assert await gym.end_of(prebooking_id) == ("failed", "provider_broken", False)
    assert detail in (await gym.read(prebooking_id))["detail"]


async def test_whoever_stored_no_credentials_is_not_let_in(gym: Gym) -> None:
    prebooking_id = await gym.prebook(ref="bob")

    await gym.work()

    assert await gym.end_of(prebooking_id) == ("failed", "bad_credentials", False)
    assert await gym.asked() == []


async def test_whoever_stored_wrong_credentials_is_not_let_in(gym: Gym) -> None:
    await gym.let_in(user=USER, password="guessed")
    prebooking_id = await gym.prebook()

    await gym.work()

    assert await gym.end_of(prebooking_id) == ("failed", "bad_credentials", False)
    assert len(await gym.simulator.requests("login")) == 1


async def test_credentials_that_were_altered_go_nowhere(gym: Gym) -> None:
    prebooking_id = await gym.prebook()
    # another customer's, moved by whoever can write to the table
    await gym.let_in("mallory")
    await gym.conn.execute("ALTER TABLE provider_credentials DISABLE TRIGGER USER")
    await gym.conn.execute(
        """UPDATE provider_credentials c SET nonce = o.nonce, ciphertext = o.ciphertext
        FROM provider_credentials o JOIN customers u ON u.id = o.customer_id
        WHERE u.ref = 'mallory' AND c.customer_id <> o.customer_id"""
    )
    await gym.conn.execute("ALTER TABLE provider_credentials ENABLE TRIGGER USER")

    await gym.work()

    assert await gym.end_of(prebooking_id) == ("failed", "bad_credentials", False)
    assert (await gym.read(prebooking_id))["detail"] == "what is stored cannot be read any more: store it again"
    assert await gym.simulator.requests("login") == []


@pytest.mark.parametrize("keys", [(), (SECOND,)])
async def test_a_key_that_is_missing_may_come_and_is_the_reason_if_it_does_not(
    gym: Gym, settings: Settings, keys: tuple[str, ...]
) -> None:
    without = with_keys(settings, *keys) if keys else settings.model_copy(update={"encryption_keys": None})
    lost = gym._replace(settings=without)
    prebooking_id = await gym.prebook()

    await lost.work()
    assert (await gym.statuses(), (await gym.job())["status"]) == ({"executing": 1}, "pending")
    await lost.try_again(times=3)

    assert await gym.end_of(prebooking_id) == ("failed", "encryption_unavailable", False)
    assert "ENCRYPTION_KEYS does not have the key" in (await gym.read(prebooking_id))["detail"]


async def test_a_process_without_the_key_does_not_close_the_provider_to_those_who_have_it(
    gym: Gym, settings: Settings
) -> None:
    for n in range(6):
        await gym.prebook(YOGA | {"class": f"c{n}"})

    await gym._replace(settings=with_keys(settings, SECOND)).work()
    paused = await one(gym.conn, "SELECT pause_reason FROM job_queues")
    await gym.try_again()

    assert paused == (None,)
    assert await gym.statuses() == {"succeeded": 6}


async def test_whoever_adds_a_provider_while_the_worker_runs_is_served(
    conn: asyncpg.Connection, database: Database, settings: Settings, simulator: Simulator
) -> None:
    gym = Gym(conn, database, settings, simulator)
    async with at_work(database, settings, *gym.handlers):
        # it has been busy and has found nothing more
        await until(conn, "EXISTS (SELECT FROM job_runs)")
        await gym.open()
        await gym.let_in()
        began = now()
        prebooking_id = await gym.prebook()
        await until(conn, "EXISTS (SELECT FROM prebookings WHERE status = 'succeeded')")

    assert await gym.end_of(prebooking_id) == BOOKED
    assert now() - began < timedelta(seconds=5)


async def test_a_breaker_that_pauses_the_queue_loses_no_prebooking(gym: Gym) -> None:
    for n in range(12):
        await gym.prebook(YOGA | {"class": f"c{n}"})
    await gym.conn.execute("SELECT put_queue('{}', $1, 1, 0)", QUEUE)
    await gym.simulator.fail("error", on="login", times=5)

    await gym.work()
    assert await one(gym.conn, "SELECT pause_reason FROM job_queues") == ("5 failures on end",)
    assert (await gym.statuses(), await gym.asked()) == ({"executing": 5, "pending": 7}, [])
    swept = await call_value(
        gym.conn, "sweep_prebookings", p_actor="{}", p_limit=100, p_now=now() + timedelta(minutes=5)
    )
    await gym.try_again()

    assert (swept, await gym.statuses(), len(await gym.asked())) == (0, {"succeeded": 12}, 12)


@pytest.fixture
def _logging() -> Iterator[None]:
    """Whatever a test makes of it, it is as before afterwards."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("_logging")
async def test_a_password_is_found_nowhere_whatever_became_of_it(
    gym: Gym,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("DEBUG")
    configure_logging("debug")
    await gym.simulator.behave(accounts={USER: CANARY})
    await gym.let_in("ann", user=USER, password=CANARY)
    await gym.let_in("bob", user=USER, password=CANARY + "!")
    book = HttpJsonAdapter.book

    async def tell(self: HttpJsonAdapter, order: Any, credentials: Credentials, fire: Any) -> Answer:
        answer = await book(self, order, credentials, fire)
        told = f"{credentials.fields['password']}\0 was not liked"
        return replace(answer, detail=told, confirmation=answer.confirmation and told)

    async def fail(_self: HttpJsonAdapter, _order: Any, credentials: Credentials, _fire: Any) -> Answer:
        raise RuntimeError(dict(credentials.fields))

    for careless in (tell, fail, book):
        monkeypatch.setattr(HttpJsonAdapter, "book", careless)
        await gym.prebook(YOGA | {"class": careless.__name__})
        await gym.prebook(YOGA | {"class": careless.__name__}, ref="bob")
        await gym.work()
        await gym.try_again()

    rows = await all_rows(gym.conn)
    assert "was not liked" in rows
    assert "RuntimeError" in rows
    assert_without(rows, CANARY, PASSWORD)
    told = capfd.readouterr()
    assert "a job failed" in told.err
    assert_without(told.out + told.err + caplog.text, CANARY, PASSWORD)
