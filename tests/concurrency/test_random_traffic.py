"""Thirty-two connections doing what they like: no deadlock, and the counters add up."""

import asyncio
import json
import random
from collections import Counter
from uuid import UUID

import asyncpg
import pytest

from tests.concurrency.rivals import assert_counters_equal_a_recount, connections
from tests.conftest import Connect
from tests.factories import ACTOR, HOUR, SYSTEM, TOMORROW, Factory, create_booking, insert_booking, make_customer

ROUNDS = 30
# what a rival may be told; a deadlock (40P01), a time-out or anything else is not among it
EXPECTED = {"SB002", "SB006", "SB007", "SB008", "SB010", "23514"}


class Rival:
    """One connection with a mind of its own."""

    def __init__(self, conn: asyncpg.Connection, seed: int, slot_ids: list[UUID], customer_id: UUID) -> None:
        self.conn = conn
        self.random = random.Random(seed)  # noqa: S311 - a repeatable choice
        self.slot_ids = slot_ids
        self.customer_id = customer_id
        self.told: Counter[str] = Counter()

    async def run(self) -> None:
        moves = [self.book, self.book, self.hold, self.cancel, self.cancel, self.insert, self.sweep]
        for _ in range(ROUNDS):
            try:
                await self.random.choice(moves)()
                self.told["done"] += 1
            except asyncpg.PostgresError as error:
                self.told[error.sqlstate or ""] += 1

    async def book(self, method: str = "pay_on_arrival") -> None:
        ref = f"c-{self.random.randrange(5)}"
        await create_booking(
            self.conn,
            self.random.choice(self.slot_ids),
            p_customer=json.dumps({"ref": ref, "name": f"{ref} {self.random.randrange(3)}"}),
            p_units=self.random.randint(1, 3),
            p_payment_method=method,
            p_idempotency_key=f"k-{self.random.randrange(200)}",
            p_request_hash=self.random.randbytes(1),
            # for some it is later: they find the holds of the others over, and take their places
            p_now=TOMORROW - HOUR * self.random.choice([1, 10]),
        )

    async def hold(self) -> None:
        await self.book("pay_now")

    async def insert(self) -> None:
        await insert_booking(self.conn, self.random.choice(self.slot_ids), self.customer_id)

    async def cancel(self) -> None:
        slot_id = self.random.choice(self.slot_ids)
        found = await self.conn.fetchrow(
            "SELECT id, version FROM bookings WHERE slot_id = $1 AND holds_place ORDER BY random() LIMIT 1", slot_id
        )
        if found:
            await self.conn.fetchrow("SELECT * FROM cancel_booking($1, $2, $3)", ACTOR, found["id"], found["version"])

    async def sweep(self) -> None:
        sweep = self.random.choice(["complete_due_bookings", "expire_due_bookings"])
        # half of the slots are over by then, and every hold
        await self.conn.fetchval(f"SELECT {sweep}($1, 20, $2)", SYSTEM, TOMORROW + 5 * HOUR)


@pytest.mark.parametrize("seed", [1])
async def test_random_traffic_neither_deadlocks_nor_miscounts(
    make: Factory, conn: asyncpg.Connection, connect: Connect, seed: int
) -> None:
    resource_id, customer_id = await make.resource(), await make_customer(conn, "raw")
    slot_ids = [
        await make.slot(resource_id, starts_at=TOMORROW + n * HOUR, max_bookings=8, max_units=12) for n in range(10)
    ]
    rivals = [
        Rival(connection, seed * 1000 + n, slot_ids, customer_id)
        for n, connection in enumerate(await connections(connect, 32))
    ]

    async with asyncio.timeout(60):
        await asyncio.gather(*(rival.run() for rival in rivals))

    told = sum((rival.told for rival in rivals), Counter[str]())
    assert told.total() == 32 * ROUNDS
    assert told.keys() <= EXPECTED | {"done"}, told
    assert told["done"] > ROUNDS
    assert told["SB002"] > 0
    assert await conn.fetchval("SELECT count(*) FROM bookings WHERE status = 'expired'") > 0
    await assert_counters_equal_a_recount(conn)
    # a booking that is still to be completed or to expire has its job, any other has none
    assert (
        await conn.fetchval(
            """SELECT count(*)
            FROM bookings b
            FULL JOIN (SELECT * FROM jobs WHERE status = 'pending') j ON j.booking_id = b.id
            WHERE (b.status IN ('pending', 'confirmed')) IS DISTINCT FROM (j.id IS NOT NULL)"""
        )
        == 0
    )
