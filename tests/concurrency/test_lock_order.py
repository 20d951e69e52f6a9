"""Two writers who each hold what the other wants next: nobody is ended by a deadlock."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from tests.concurrency.rivals import (
    assert_counters_equal_a_recount,
    begin,
    connections,
    held_slots,
    until_waiting,
)
from tests.concurrency.turns import DONE, in_turn, told
from tests.conftest import Connect
from tests.factories import ACTOR, HOUR, Factory, change_booking, create_booking
from tests.sql.schedules import put_schedule
from tests.sql.support import at, call_row, call_value

NOW = at("2030-06-03T00:00")
NINE = NOW + 9 * HOUR
LATER = NOW + timedelta(minutes=1)
DAY = timedelta(days=1)
# the order of ids is the order of locks
LOW, MIDDLE, HIGH = (UUID(int=n) for n in (1, 2, 3))


async def slot(conn: asyncpg.Connection, resource_id: UUID, slot_id: UUID, starts_at: Any, places: int = 1) -> UUID:
    """A slot whose place in the order of locks the test chooses."""
    await conn.execute(
        """INSERT INTO slots (id, resource_id, starts_at, ends_at, max_bookings, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6)""",
        slot_id,
        resource_id,
        starts_at,
        starts_at + HOUR,
        places,
        NOW,
    )
    return slot_id


def hours(opens: str, closes: str) -> list[dict[str, Any]]:
    return [{"weekday": day, "opens": opens, "closes": closes} for day in range(1, 8)]


async def behind(observer: asyncpg.Connection, waiting: list[Any], attempt: Any) -> list[Any]:
    """One more rival, who waits as the others do."""
    tasks = begin([attempt])
    await until_waiting(observer, len(waiting) + 1)
    return tasks


def batch(conn: asyncpg.Connection, *slot_ids: UUID) -> Any:
    items = [{"slot_id": str(slot_id), "units": 1, "metadata": {}} for slot_id in slot_ids]
    customer = '{"ref": "batch"}'
    return call_row(
        conn, "create_bookings_safe", p_actor=ACTOR, p_items=json.dumps(items), p_customer=customer, p_now=NOW
    )


async def test_a_series_whose_next_slot_is_made_while_it_waits_does_not_deadlock_with_a_batch(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id = await make.resource()
    third = await slot(conn, resource_id, MIDDLE, NINE + 2 * DAY, 2)
    first = await slot(conn, resource_id, HIGH, NINE, 2)
    series, batcher, maker, observer = await connections(connect, 4)

    async with held_slots(conn, first):
        # it has the third slot now, and waits for the first
        tasks = await in_turn(
            observer,
            call_row(
                series,
                "create_recurring_bookings",
                p_actor=ACTOR,
                p_slot_id=first,
                p_customer='{"ref": "series"}',
                p_every_days=1,
                p_count=3,
                p_on_conflict="skip",
                p_now=NOW,
            ),
        )
        second = await slot(maker, resource_id, LOW, NINE + DAY, 2)
        tasks += await behind(observer, tasks, batch(batcher, second, third))

    assert await told(tasks) == [DONE, DONE]
    await assert_counters_equal_a_recount(conn)


async def moved_offer(conn: asyncpg.Connection, old: UUID, new: UUID) -> tuple[UUID, UUID]:
    """An entry that was offered a place in `old`, and its hold, which has moved to `new` since."""
    joined = await call_row(
        conn, "join_waitlist", p_actor=ACTOR, p_slot_id=old, p_customer='{"ref": "cleo"}', p_now=NOW
    )
    hold = await conn.fetchval("SELECT booking_id FROM waitlist_entries WHERE id = $1", joined["entry_id"])
    await change_booking(conn, "reschedule_booking", hold, 1, p_slot_id=new, p_now=LATER)
    return joined["entry_id"], hold


async def test_an_offer_that_moved_is_accepted_beside_a_batch_of_both_slots(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id = await make.resource()
    new, old = await slot(conn, resource_id, LOW, NINE, 3), await slot(conn, resource_id, HIGH, NINE + DAY, 3)
    entry_id, _ = await moved_offer(conn, old, new)
    accepting, batcher, observer = await connections(connect, 3)

    # the batch will have the new slot when it wants the old one
    async with held_slots(conn, new):
        tasks = await in_turn(
            observer,
            batch(batcher, new, old),
            call_row(accepting, "accept_offer", p_actor=ACTOR, p_entry_id=entry_id, p_now=LATER),
        )

    assert await told(tasks) == [DONE, DONE]
    await assert_counters_equal_a_recount(conn)


async def test_an_offer_that_moved_is_left_and_cancelled_at_once(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id = await make.resource()
    new, old = await slot(conn, resource_id, LOW, NINE, 3), await slot(conn, resource_id, HIGH, NINE + DAY, 3)
    entry_id, hold = await moved_offer(conn, old, new)
    leaving, cancelling, observer = await connections(connect, 3)

    async with held_slots(conn, new):
        tasks = await in_turn(
            observer,
            change_booking(cancelling, "cancel_booking", hold, 2, p_now=LATER),
            call_value(leaving, "leave_waitlist", p_actor=ACTOR, p_entry_id=entry_id, p_now=LATER),
        )

    # leaving twice is once, whichever way
    assert await told(tasks) == [DONE, DONE]
    await assert_counters_equal_a_recount(conn)


async def test_slots_by_hand_do_not_deadlock_with_a_schedule_that_takes_one_back_and_makes_another(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, p_now=NOW, weekly=hours("10:00", "11:00"))
    by_hand, ruler, observer = await connections(connect, 3)
    times = [(NINE, NINE + HOUR), (NINE + HOUR / 2, NINE + HOUR), (NINE + HOUR, NINE + 2 * HOUR)]
    slots = json.dumps([{"starts_at": str(start), "ends_at": str(end), "max_bookings": 1} for start, end in times])

    # who makes slots by hand has made nine o'clock, and waits to learn whether half past nine exists
    async with conn.transaction():
        await conn.execute(
            "INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings) VALUES ($1, $2, $3, 1)",
            resource_id,
            *times[1],
        )
        tasks = await in_turn(
            observer,
            call_value(by_hand, "add_slots", p_actor=ACTOR, p_resource_id=resource_id, p_slots=slots, p_now=NOW),
            put_schedule(ruler, resource_id, p_now=NOW, weekly=hours("09:00", "10:00")),
        )

    assert await told(tasks) == [DONE, DONE]


async def test_rules_whose_plan_grows_while_they_wait_do_not_deadlock_with_a_batch(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id = await make.resource()
    rules: dict[str, Any] = {"p_now": NOW, "horizon_days": 1, "max_bookings": 2}
    await put_schedule(conn, resource_id, **rules)
    ten = await conn.fetchval("SELECT id FROM slots WHERE starts_at = $1", NINE + HOUR)
    booked = (await create_booking(conn, ten, p_now=NOW))["booking_id"]
    await put_schedule(conn, resource_id, **rules, slot_minutes=90)
    # today's first slot shares its time with the legacy one, tomorrow's is about to go
    shared, going = LOW, HIGH
    for slot_id, starts_at in ((shared, NINE), (going, NINE + DAY)):
        await conn.execute("UPDATE slots SET id = $1 WHERE starts_at = $2", slot_id, starts_at)
    batcher, ruler, observer = await connections(connect, 3)
    mondays = [entry for entry in hours("09:00", "12:00") if entry["weekday"] == 1]

    async with held_slots(conn, going):
        tasks = await in_turn(observer, put_schedule(ruler, resource_id, **rules, slot_minutes=90, weekly=mondays))
        # now the shared slot is to grow, which nobody could know before
        await change_booking(batcher, "cancel_booking", booked, 1, p_now=NOW)
        tasks += await behind(observer, tasks, batch(batcher, shared, going))

    # the rules gave their locks back to begin again, and then keep what was booked in between
    assert await told(tasks) == [DONE, DONE]
    assert await conn.fetchval("SELECT is_legacy FROM slots WHERE id = $1", going)
    await assert_counters_equal_a_recount(conn)
