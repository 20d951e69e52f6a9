"""A deadlock with somebody who locks in another order: what Postgres ended is begun again, and nobody is told."""

import asyncio
import json

import asyncpg
import pytest

from app import database
from app.database import Database, open_database
from tests.concurrency.rivals import begin, until_waiting
from tests.conftest import Connect, settings_for
from tests.factories import ACTOR, Factory

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
LOCK = "SELECT FROM slots WHERE id = $1 FOR UPDATE"


async def book_both(door: Database, slot_ids: list[str]) -> int:
    """Book both slots in one statement, which locks them by id; how many bookings it made."""
    items = [{"slot_id": slot_id, "units": 1, "metadata": {}} for slot_id in slot_ids]
    row = await door.call_row(
        "create_bookings_safe", p_actor=json.loads(ACTOR), p_items=items, p_customer={"ref": "ann"}
    )
    return len(json.loads(row["body"])["bookings"])


async def test_whoever_lost_a_deadlock_is_served_after_all(dsn: str, make: Factory, connect: Connect) -> None:
    slot_ids = sorted([await make.slot(), await make.slot()])
    rival, observer = await connect(), await connect()
    # the rival is in no hurry to look for deadlocks: the call is the one to be ended
    await rival.execute("SET deadlock_timeout = '20s'")

    async with open_database(settings_for(f"{dsn}&deadlock_timeout=200ms")) as door:
        async with rival.transaction():
            await rival.execute(LOCK, slot_ids[1])
            (call,) = begin([book_both(door, [str(slot_id) for slot_id in slot_ids])])
            await until_waiting(observer, 1)
            # against the order: now each waits for the other
            await rival.execute(LOCK, slot_ids[0])
        assert await call == 2

    await rival.execute("SELECT pg_stat_force_next_flush()")
    async with asyncio.timeout(20):
        while not await observer.fetchval(DEADLOCKS):  # noqa: ASYNC110 - of the database
            await asyncio.sleep(0.05)
    assert await observer.fetchval("SELECT count(*) FROM bookings") == 2


async def test_whoever_loses_each_time_is_told_to_come_again(
    dsn: str, conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAUSES", (0.001, 0.001))
    await conn.execute(
        """CREATE SEQUENCE tries;
        CREATE FUNCTION loses() RETURNS integer LANGUAGE plpgsql AS
        $$ BEGIN PERFORM nextval('holdfast.tries'); RAISE deadlock_detected; END $$"""
    )

    async with open_database(settings_for(dsn)) as door:
        with pytest.raises(asyncpg.DeadlockDetectedError):
            await door.call("loses")

    assert await conn.fetchval("SELECT last_value FROM tries") == 1 + len(database.PAUSES)


async def test_what_failed_for_another_reason_is_tried_once(dsn: str, conn: asyncpg.Connection) -> None:
    await conn.execute(
        """CREATE SEQUENCE tries;
        CREATE FUNCTION waits() RETURNS integer LANGUAGE plpgsql AS
        $$ BEGIN PERFORM nextval('holdfast.tries'); RAISE lock_not_available; END $$"""
    )

    async with open_database(settings_for(dsn)) as door:
        with pytest.raises(asyncpg.LockNotAvailableError):
            await door.call("waits")

    assert await conn.fetchval("SELECT last_value FROM tries") == 1
