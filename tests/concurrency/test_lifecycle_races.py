"""Two changes of the same place at once: one wins, and nothing is lost or deadlocked."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import asyncpg

from tests.conftest import Connect
from tests.factories import TOMORROW, Factory, change_booking, create_booking

ROUNDS = 40
NOW = TOMORROW - timedelta(hours=6)


async def outcome(call: Any) -> str:
    try:
        await call
    except asyncpg.PostgresError as error:
        return str(error.args[0])
    return "done"


async def recount(conn: asyncpg.Connection) -> list[asyncpg.Record]:
    """The slots whose counters are not what their bookings say."""
    return await conn.fetch(
        """SELECT s.id FROM slots s LEFT JOIN bookings b ON b.slot_id = s.id AND b.holds_place
        GROUP BY s.id HAVING s.booked_bookings <> count(b.id)"""
    )


async def test_two_moves_into_the_last_place_have_one_winner(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    rivals = [await connect(), await connect()]
    resource_id = await make.resource()
    for _ in range(ROUNDS):
        last = await make.slot(resource_id, max_bookings=1)
        bookings = [await make.booking(await make.slot(resource_id)) for _ in rivals]

        outcomes = await asyncio.gather(
            *(
                outcome(change_booking(rival, "reschedule_booking", booking_id, 1, p_slot_id=last))
                for rival, booking_id in zip(rivals, bookings, strict=True)
            )
        )

        assert sorted(outcomes) == ["done", "slot_full"]
    assert await recount(conn) == []


async def test_moves_that_cross_do_not_deadlock(make: Factory, conn: asyncpg.Connection, connect: Connect) -> None:
    rivals = [await connect(), await connect()]
    resource_id = await make.resource()
    slots = [await make.slot(resource_id, max_bookings=2) for _ in rivals]
    bookings = [await make.booking(slot_id) for slot_id in slots]
    for version in range(1, ROUNDS):
        slots.reverse()
        outcomes = await asyncio.gather(
            *(
                outcome(change_booking(rival, "reschedule_booking", booking_id, version, p_slot_id=slot_id))
                for rival, booking_id, slot_id in zip(rivals, bookings, slots, strict=True)
            )
        )

        assert outcomes == ["done", "done"]
    assert await recount(conn) == []


async def test_money_and_expiry_at_once_leave_one_truth(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    payer, sweeper = await connect(), await connect()
    resource_id = await make.resource()
    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        slot_id = await make.slot(resource_id, max_bookings=1)
        row = await create_booking(conn, slot_id, p_payment_method="pay_now", p_now=NOW)
        late = NOW + timedelta(hours=1)

        paid, _ = await asyncio.gather(
            outcome(change_booking(payer, "record_payment", row["booking_id"], 1, p_payment_status="paid", p_now=late)),
            sweeper.execute("SELECT expire_due_bookings('{}', 10, $1)", late),
        )

        status = await conn.fetchval("SELECT status FROM bookings WHERE id = $1", row["booking_id"])
        # the sweep came first and made the caller's version stale, or the money did and there was nothing to sweep
        assert (paid, status) in {("done", "confirmed"), ("version_conflict", "expired")}
        seen[status] += 1
    assert await recount(conn) == []


async def test_late_money_and_a_newcomer_have_one_winner(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    payer, newcomer = await connect(), await connect()
    resource_id = await make.resource()
    for _ in range(ROUNDS):
        slot_id = await make.slot(resource_id, max_bookings=1)
        row = await create_booking(conn, slot_id, p_payment_method="pay_now", p_now=NOW)
        late = NOW + timedelta(hours=1)

        paid, booked = await asyncio.gather(
            outcome(change_booking(payer, "record_payment", row["booking_id"], 1, p_payment_status="paid", p_now=late)),
            outcome(create_booking(newcomer, slot_id, p_customer='{"ref": "ben"}', p_now=late)),
        )

        assert (paid, booked) in {("done", "slot_full"), ("version_conflict", "done")}
    assert await recount(conn) == []
