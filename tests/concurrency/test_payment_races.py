"""Payment events against each other, the sweep and newcomers: one outcome, and money is never taken for nothing."""

import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.concurrency.rivals import (
    assert_counters_equal_a_recount,
    begin,
    connections,
    held_slots,
    outcomes,
    until_waiting,
)
from tests.conftest import Connect
from tests.factories import HOUR, SYSTEM, TOMORROW, Factory, change_booking, create_booking
from tests.sql.support import NOBODY, call_json, call_value, one

STRIPE = json.dumps({"type": "system", "id": "stripe"})
# every hold is over by then, and its slot still to come
LATER = TOMORROW + 100 * HOUR


async def hold(make: Factory) -> tuple[UUID, UUID]:
    """A slot of one place, and the hold on it."""
    slot_id = await make.slot(starts_at=LATER + HOUR)
    return slot_id, await make.booking(slot_id, p_payment_method="pay_now")


async def tell(
    conn: asyncpg.Connection, booking_id: UUID | None, event_id: str = "evt_1", payment_status: str = "paid"
) -> dict[str, Any]:
    """The event as record_payment_event answers it at LATER."""
    event: dict[str, Any] = await call_json(
        conn,
        "record_payment_event",
        p_actor=STRIPE,
        p_event_id=event_id,
        p_event_type="payment_intent.succeeded",
        p_booking_id=booking_id,
        p_payment_status=payment_status,
        p_now=LATER,
    )
    return event


async def expire(conn: asyncpg.Connection) -> int:
    return int(await call_value(conn, "expire_due_bookings", p_actor=SYSTEM, p_limit=500, p_now=LATER))


async def state(conn: asyncpg.Connection, booking_id: UUID) -> tuple[str, str]:
    """The status of the booking and of its payment."""
    status, payment_status = await one(conn, "SELECT status, payment_status FROM bookings WHERE id = $1", booking_id)
    return status, payment_status


async def events_on_record(conn: asyncpg.Connection) -> list[tuple[str, str]]:
    rows = await conn.fetch("SELECT id, outcome FROM payment_events ORDER BY id")
    return [(row["id"], row["outcome"]) for row in rows]


async def changes(conn: asyncpg.Connection, booking_id: UUID) -> list[str]:
    """What happened to the booking after it was made."""
    trail = "SELECT event FROM audit_log WHERE subject_type = 'booking' AND subject_id = $1 ORDER BY id OFFSET 1"
    return [row["event"] for row in await conn.fetch(trail, str(booking_id))]


async def assert_sound(conn: asyncpg.Connection) -> None:
    await assert_counters_equal_a_recount(conn)
    assert (await call_json(conn, "check_invariants"))["violations"] == []


async def test_the_same_event_from_many_at_once_is_recorded_once_and_answered_alike(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, booking_id = await hold(make)
    rivals = await connections(connect, 8)

    async with held_slots(conn, slot_id):
        telling = begin(tell(rival, booking_id) for rival in rivals)
        await until_waiting(conn, 8)
    answers, lost = await outcomes(telling)

    assert (len(answers), lost) == (8, [])
    assert [answer for answer in answers if answer != answers[0]] == []
    assert await events_on_record(conn) == [("evt_1", "recorded")]
    assert await changes(conn, booking_id) == ["booking.confirmed"]
    await assert_sound(conn)


async def test_the_same_event_of_nobodys_booking_from_two_at_once_is_recorded_once(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    first, second = await connections(connect, 2)

    # no slot to queue at: the second waits for the first one's row
    async with first.transaction():
        answer = await tell(first, NOBODY)
        (telling,) = begin([tell(second, NOBODY)])
        await until_waiting(conn, 1)

    assert await telling == answer
    assert await events_on_record(conn) == [("evt_1", "booking_not_found")]


async def test_an_event_whose_first_telling_is_given_up_is_recorded_by_the_second(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    _, booking_id = await hold(make)
    first, second = await connections(connect, 2)

    transaction = first.transaction()
    await transaction.start()
    await tell(first, booking_id)
    (telling,) = begin([tell(second, booking_id)])
    await until_waiting(conn, 1)
    await transaction.rollback()

    assert (await telling)["outcome"] == "recorded"
    assert await state(conn, booking_id) == ("confirmed", "paid")
    assert await changes(conn, booking_id) == ["booking.confirmed"]


async def test_several_events_of_one_payment_at_once_record_it_once(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, booking_id = await hold(make)
    rivals = await connections(connect, 6)

    async with held_slots(conn, slot_id):
        telling = begin(tell(rival, booking_id, f"evt_{n}") for n, rival in enumerate(rivals))
        await until_waiting(conn, 6)
    answers, lost = await outcomes(telling)

    assert lost == []
    assert sorted(answer["outcome"] for answer in answers) == ["recorded"] + ["unchanged"] * 5
    assert await changes(conn, booking_id) == ["booking.confirmed"]
    assert await state(conn, booking_id) == ("confirmed", "paid")


async def test_paid_and_failed_at_once_leave_what_came_first(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, booking_id = await hold(make)
    rivals = await connections(connect, 2)

    async with held_slots(conn, slot_id):
        telling = begin(
            tell(rival, booking_id, payment_status, payment_status)
            for rival, payment_status in zip(rivals, ("paid", "failed"), strict=True)
        )
        await until_waiting(conn, 2)
    (paid, failed), _ = await outcomes(telling)

    if paid["outcome"] == "recorded":
        assert (failed["outcome"], failed["action"]) == ("invalid_transition", None)
        assert await state(conn, booking_id) == ("confirmed", "paid")
    else:
        assert (failed["outcome"], paid["outcome"], paid["action"]) == ("recorded", "invalid_transition", "refund")
        assert await state(conn, booking_id) == ("failed", "failed")
    assert len(await changes(conn, booking_id)) == 1
    await assert_sound(conn)


async def test_a_sweep_passes_by_a_hold_that_is_being_paid(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    _, booking_id = await hold(make)
    sweeper = await connect()

    async with conn.transaction():
        assert (await tell(conn, booking_id))["outcome"] == "recorded"
        assert await expire(sweeper) == 0

    assert await expire(sweeper) == 0
    assert await state(conn, booking_id) == ("confirmed", "paid")
    assert await changes(conn, booking_id) == ["booking.confirmed"]
    await assert_sound(conn)


async def test_money_that_comes_during_a_sweep_takes_the_place_again(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    _, booking_id = await hold(make)
    sweeper, observer = await connections(connect, 2)

    async with sweeper.transaction():
        assert await expire(sweeper) == 1
        (telling,) = begin([tell(conn, booking_id)])
        await until_waiting(observer, 1)

    assert (await telling)["outcome"] == "recorded"
    assert await state(conn, booking_id) == ("confirmed", "paid")
    assert await changes(conn, booking_id) == ["booking.expired", "booking.confirmed"]
    await assert_sound(conn)


async def test_money_that_comes_while_somebody_takes_the_place_is_to_be_given_back(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, booking_id = await hold(make)
    newcomer, observer = await connections(connect, 2)

    async with newcomer.transaction():
        await create_booking(newcomer, slot_id, p_customer='{"ref": "ben"}', p_now=LATER)
        (telling,) = begin([tell(conn, booking_id)])
        await until_waiting(observer, 1)

    answer = await telling
    assert (answer["outcome"], answer["action"]) == ("hold_expired", "refund")
    assert await state(conn, booking_id) == ("expired", "pending")
    await assert_sound(conn)


async def test_an_event_for_a_hold_that_is_being_moved_leaves_nothing_and_is_recorded_when_told_again(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    _, booking_id = await hold(make)
    slot_id = await make.slot(starts_at=LATER + 5 * HOUR)
    mover, observer = await connections(connect, 2)

    async with mover.transaction():
        await change_booking(mover, "reschedule_booking", booking_id, 1, p_slot_id=slot_id)
        telling = begin([tell(conn, booking_id)])
        await until_waiting(observer, 1)

    assert await outcomes(telling) == ([], ["SB006 version_conflict"])
    assert await events_on_record(conn) == []
    assert (await tell(conn, booking_id))["outcome"] == "recorded"
    assert await state(conn, booking_id) == ("confirmed", "paid")
    await assert_sound(conn)


async def come(conn: asyncpg.Connection, slot_id: UUID, ref: str) -> dict[str, Any]:
    """The booking of a newcomer who finds the hold over."""
    customer = json.dumps({"ref": ref})
    booked: dict[str, Any] = json.loads((await create_booking(conn, slot_id, p_customer=customer, p_now=LATER))["body"])
    return booked


@pytest.mark.parametrize("first", ["money", "newcomers"])
@pytest.mark.parametrize("sweeps", [0, 3])
async def test_money_newcomers_and_sweeps_agree_on_whose_place_it_is(
    make: Factory, conn: asyncpg.Connection, connect: Connect, first: str, sweeps: int
) -> None:
    slot_id, booking_id = await hold(make)
    payer, ben, cid, *sweepers = await connections(connect, 3 + sweeps)
    paying, coming = [tell(payer, booking_id)], [come(ben, slot_id, "ben"), come(cid, slot_id, "cid")]
    queue = [paying, coming] if first == "money" else [coming, paying]

    async with held_slots(conn, slot_id):
        tasks = begin(queue[0])
        await until_waiting(conn, len(tasks))
        tasks += begin(queue[1])
        await until_waiting(conn, 3)
        sweeping = begin(expire(sweeper) for sweeper in sweepers)
    won, lost = await outcomes(tasks)
    _, failed_sweeps = await outcomes(sweeping)

    (event,) = [answer for answer in won if "outcome" in answer]
    if event["outcome"] == "recorded":
        assert await state(conn, booking_id) == ("confirmed", "paid")
        assert (len(won), lost) == (1, ["SB002 slot_full"] * 2)
    else:
        assert (event["outcome"], event["action"]) == ("hold_expired", "refund")
        assert await state(conn, booking_id) == ("expired", "pending")
        assert (len(won), lost) == (2, ["SB002 slot_full"])
    assert failed_sweeps == []
    assert await events_on_record(conn) == [("evt_1", event["outcome"])]
    assert await expire(conn) == 0
    await assert_sound(conn)
