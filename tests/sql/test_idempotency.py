"""replay_request, remember_request, prune_idempotency_keys: a request repeated is one request."""

from datetime import timedelta
from typing import Any

import asyncpg

from tests.conftest import Connect
from tests.factories import ACTOR, TOMORROW, Factory, create_booking
from tests.sql.support import TICK, call, call_value, refused

KEY: dict[str, Any] = {"p_idempotency_key": "k", "p_request_hash": b"same"}
REQUEST: dict[str, Any] = {
    "p_principal": "shop",
    "p_operation": "create_booking",
    "p_key": "k",
    "p_request_hash": b"same",
}
ANSWER = '{ "id":1,  "unicode": "\\u00e9" }'


async def remember(conn: asyncpg.Connection, **overrides: Any) -> None:
    await call(conn, "remember_request", **(REQUEST | {"p_response": ANSWER} | overrides))


async def replay(conn: asyncpg.Connection, **overrides: Any) -> Any:
    return await call_value(conn, "replay_request", **(REQUEST | overrides))


async def prune(conn: asyncpg.Connection, **overrides: Any) -> Any:
    return await call_value(conn, "prune_idempotency_keys", **({"p_limit": 100} | overrides))


async def test_a_new_key_has_no_answer(conn: asyncpg.Connection) -> None:
    assert await replay(conn) is None


async def test_a_known_key_answers_byte_for_byte(conn: asyncpg.Connection) -> None:
    await remember(conn)

    assert await replay(conn) == ANSWER


async def test_a_key_belongs_to_one_caller_and_one_operation(conn: asyncpg.Connection) -> None:
    await remember(conn)

    assert await replay(conn, p_principal="another", p_request_hash=b"other") is None
    assert await replay(conn, p_operation="cancel_booking", p_request_hash=b"other") is None
    assert await replay(conn, p_key="K", p_request_hash=b"other") is None


async def test_a_key_used_for_another_request_is_a_conflict(conn: asyncpg.Connection) -> None:
    await remember(conn, p_now=TOMORROW)

    with refused("SB010", "idempotency_conflict") as refusal:
        await replay(conn, p_request_hash=b"other")

    assert list(refusal.detail) == ["first_used_at"]


async def test_a_key_taken_meanwhile_is_a_conflict(conn: asyncpg.Connection) -> None:
    await remember(conn)

    with refused("SB010", "idempotency_conflict"):
        await remember(conn)


async def test_a_booking_repeated_is_one_booking_and_one_answer(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=1)

    first = await create_booking(conn, slot_id, **KEY)
    again = await create_booking(conn, slot_id, **KEY)

    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["body"] == first["body"]
    assert (again["booking_id"], again["booking_version"]) == (first["booking_id"], 1)
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1


async def test_the_answer_outlives_what_becomes_of_slot_and_booking(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot()
    first = await create_booking(conn, slot_id, **KEY)
    await conn.execute("UPDATE bookings SET status = 'cancelled'")
    await conn.execute("UPDATE slots SET is_legacy = true")

    again = await create_booking(conn, slot_id, p_now=TOMORROW + timedelta(days=9), **KEY)

    assert again["body"] == first["body"]


async def test_a_refusal_is_not_remembered(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=1)
    taken = await make.booking(slot_id)
    with refused("SB002", "slot_full"):
        await create_booking(conn, slot_id, **KEY)

    await conn.execute("UPDATE bookings SET status = 'cancelled' WHERE id = $1", taken)

    assert not (await create_booking(conn, slot_id, **KEY))["replayed"]


async def test_without_a_key_a_repeat_is_a_second_booking(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=2)

    first, second = await create_booking(conn, slot_id), await create_booking(conn, slot_id)

    assert first["booking_id"] != second["booking_id"]
    assert await conn.fetchval("SELECT count(*) FROM idempotency_keys") == 0


async def test_the_key_is_the_actors_own(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=2)

    first = await create_booking(conn, slot_id, p_actor=ACTOR, **KEY)
    other = await create_booking(conn, slot_id, p_actor='{"type": "admin", "id": "somebody else"}', **KEY)

    assert (other["replayed"], other["booking_id"] == first["booking_id"]) == (False, False)


async def test_keys_are_forgotten_after_72_hours(conn: asyncpg.Connection) -> None:
    await remember(conn, p_now=TOMORROW)

    assert await prune(conn, p_now=TOMORROW + timedelta(hours=72)) == 0
    assert await prune(conn, p_now=TOMORROW + timedelta(hours=72) + TICK) == 1
    assert await replay(conn, p_request_hash=b"other") is None


async def test_a_caller_may_keep_them_for_another_while(conn: asyncpg.Connection) -> None:
    await remember(conn, p_now=TOMORROW)

    assert await prune(conn, p_keep=timedelta(minutes=1), p_now=TOMORROW + timedelta(minutes=2)) == 1


async def test_pruning_takes_no_more_than_it_was_asked_to(conn: asyncpg.Connection) -> None:
    for n in range(5):
        await remember(conn, p_key=str(n), p_now=TOMORROW)
    later = TOMORROW + timedelta(days=9)

    assert [await prune(conn, p_limit=2, p_now=later) for _ in range(4)] == [2, 2, 1, 0]


async def test_pruning_passes_over_keys_that_somebody_holds(conn: asyncpg.Connection, connect: Connect) -> None:
    await remember(conn, p_now=TOMORROW)
    holder = await connect()

    async with holder.transaction():
        await holder.execute("SELECT FROM idempotency_keys FOR UPDATE")
        await conn.execute("SET lock_timeout TO '2s'")
        assert await prune(conn, p_now=TOMORROW + timedelta(days=9)) == 0

    assert await prune(conn, p_now=TOMORROW + timedelta(days=9)) == 1
