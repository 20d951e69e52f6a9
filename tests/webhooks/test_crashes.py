"""kill -9 of processes that deliver, between sending and settling: it may come twice, and nothing is lost."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.database import open_database
from app.settings import Settings
from app.webhooks.handlers import deliver_webhook
from tests.concurrency.rivals import until_buried
from tests.credentials.support import FIRST
from tests.factories import Factory
from tests.jobs.support import do_all, lose_leases, runner_of
from tests.jobs.victims import Victims, victims_of
from tests.webhooks.support import OK, Received, Receiver, add_endpoint, deliveries_of

ROUNDS, EVENTS_A_ROUND = 10, 6


@pytest.fixture
async def victims(dsn: str) -> AsyncIterator[Victims]:
    async with victims_of(dsn, "tests.webhooks.process", FIRST) as victims:
        yield victims


async def kill_in_rounds(
    rounds: int, conn: asyncpg.Connection, make: Factory, settings: Settings, victims: Victims, receiver: Receiver
) -> None:
    """In each round one dies with requests on their way or just answered; afterwards everything has arrived."""
    endpoint = await add_endpoint(conn, receiver.url, "booking.created")
    chance, slot, held_by_the_dead = random.Random(4711), await make.slot(max_bookings=10_000), 0  # noqa: S311

    async def answers_in_its_time(_received: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(chance.uniform(0, 0.02))
        writer.write(OK)

    receiver.behaviour = answers_in_its_time
    for number in range(rounds):
        for n in range(EVENTS_A_ROUND):
            await make.booking(slot, p_customer=json.dumps({"ref": f"c{number}-{n}"}))
        # as a killed process is an attempt, and so many in a row would be enough for some
        await conn.execute("UPDATE jobs SET max_attempts = 50 WHERE queue = 'webhooks' AND status = 'pending'")
        heard = len(receiver.received)
        await victims.begin()
        await receiver.until_received(heard + chance.randint(1, EVENTS_A_ROUND - 1))
        await asyncio.sleep(chance.uniform(0, 0.02))
        victims.kill()
        await until_buried(conn)
        held_by_the_dead += await lose_leases(conn)
    async with open_database(settings) as database:
        runner = runner_of(database, deliver_webhook(database, settings))
        while await conn.fetchval("SELECT count(*) FROM jobs WHERE queue = 'webhooks' AND status = 'pending'"):
            await do_all(runner)
            await lose_leases(conn)

    deliveries = await deliveries_of(conn, endpoint)
    heard_of = Counter(receiver.ids)
    assert held_by_the_dead > 0
    assert {d["status"] for d in deliveries} == {"delivered"}
    assert heard_of.keys() == {d["event_id"] for d in deliveries}
    # each that was on its way when somebody died may have come twice
    assert heard_of.total() - len(heard_of) <= held_by_the_dead


async def test_a_killed_process_costs_a_duplicate_of_the_same_id_at_most(
    conn: asyncpg.Connection, make: Factory, settings: Settings, victims: Victims, receiver: Receiver
) -> None:
    await kill_in_rounds(ROUNDS, conn, make, settings, victims, receiver)


async def test_one_that_dies_before_it_has_read_the_answer_sends_it_again_under_the_same_id(
    conn: asyncpg.Connection, make: Factory, settings: Settings, victims: Victims, receiver: Receiver
) -> None:
    endpoint = await add_endpoint(conn, receiver.url, "booking.created")
    await make.booking()
    answered = asyncio.Event()

    async def once_it_is_told_to(_received: Received, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.write(OK)

    receiver.behaviour = once_it_is_told_to
    await victims.begin()
    await receiver.until_received(1)
    victims.kill()
    answered.set()
    await until_buried(conn)
    await lose_leases(conn)
    async with open_database(settings) as database:
        await do_all(runner_of(database, deliver_webhook(database, settings)))

    (delivery,) = await deliveries_of(conn, endpoint)
    assert receiver.ids == [delivery["event_id"]] * 2
    assert (delivery["status"], delivery["attempt_count"]) == ("delivered", 1)
