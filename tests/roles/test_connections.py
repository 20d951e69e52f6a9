"""Over few connections many customers: who one acts for never stays behind for the next."""

import asyncio
import json
import random
from contextlib import suppress
from functools import partial
from uuid import UUID

import asyncpg
import pytest

from app.database import Database, open_database
from app.settings import Settings
from tests.factories import Factory
from tests.sql.auto_syncs import acting
from tests.sql.support import NOBODY

CUSTOMERS = [f"customer-{n}" for n in range(12)]
CALLS = 1000
CONNECTIONS = 3


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"db_pool_size": CONNECTIONS})


async def test_a_thousand_calls_of_many_customers_with_cancellations_read_and_write_nothing_of_anothers(
    settings: Settings, conn: asyncpg.Connection, make: Factory
) -> None:
    slot_id = await make.slot(max_bookings=CALLS)
    own = {ref: {str(await make.booking(slot_id, p_customer=f'{{"ref": "{ref}"}}'))} for ref in CUSTOMERS}
    chance = random.Random(4711)  # noqa: S311 - nothing secret
    read = 0

    async def reads(database: Database, ref: str) -> None:
        nonlocal read
        page = await database.call_value("list_bookings", p_customer_ref=ref)
        assert {item["customer_ref"] for item in json.loads(page)["items"]} == {ref}
        read += 1

    async def reads_anothers(database: Database, ref: str, booking: str) -> None:
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await database.call("get_booking", p_booking_id=UUID(booking), p_customer_ref=ref)
        assert refusal.value.sqlstate == "SB005"

    async def cancels_anothers(database: Database, ref: str, booking: str) -> None:
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await database.call(
                "cancel_booking", p_actor=json.loads(acting(ref)), p_booking_id=UUID(booking), p_version=1
            )
        assert refusal.value.sqlstate == "SB005"

    async def fails(database: Database, ref: str) -> None:
        with pytest.raises(asyncpg.PostgresError):
            await database.call(
                "create_booking_safe", p_actor=json.loads(acting(ref)), p_slot_id=NOBODY, p_customer={"ref": ref}
            )

    async def one(database: Database) -> None:
        ref = chance.choice(CUSTOMERS)
        (another,) = own[chance.choice([other for other in CUSTOMERS if other != ref])]
        call = chance.choice(
            [
                partial(reads, database, ref),
                partial(reads_anothers, database, ref, another),
                partial(cancels_anothers, database, ref, another),
                partial(fails, database, ref),
            ]
        )
        task = asyncio.create_task(call())
        if chance.random() < 0.2:
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async with open_database(settings) as database:
        for _ in range(CALLS // 50):
            await asyncio.gather(*(one(database) for _ in range(50)))

    assert read > CALLS / 10
    assert await conn.fetchval("SELECT count(*) FROM bookings WHERE status = 'confirmed'") == len(CUSTOMERS)
    left = "SELECT count(*) FROM pg_stat_activity WHERE state ^@ 'idle in' AND datname = current_database()"
    assert await conn.fetchval(left) == 0
