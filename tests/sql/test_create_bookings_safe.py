"""create_bookings_safe, book_slot, place_booking, own_customer: several places in one step, all of them or none."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import ACTOR, HOUR, Factory
from tests.sql.schedules import put_schedule
from tests.sql.support import NOBODY, at, call_json, call_row, call_value, jobs_of, occupancy, one, refused

NOW = at("2030-06-03T09:00")
START = NOW + timedelta(days=1)
KEY: dict[str, Any] = {"p_idempotency_key": "k", "p_request_hash": b"same"}
Item = UUID | dict[str, Any]


def item(slot_id: UUID, units: int = 1, **metadata: Any) -> dict[str, Any]:
    """One booking of a batch."""
    return {"slot_id": str(slot_id), "units": units, "metadata": metadata}


async def batch(conn: asyncpg.Connection, *items: Item, **overrides: Any) -> asyncpg.Record:
    """create_bookings_safe; an item that is a slot's id asks for one unit of it."""
    given = json.dumps([item(each) if isinstance(each, UUID) else each for each in items])
    arguments = {"p_actor": ACTOR, "p_items": given, "p_customer": '{"ref": "ann"}', "p_now": NOW}
    return await call_row(conn, "create_bookings_safe", **(arguments | overrides))


async def bookings(conn: asyncpg.Connection, *items: Item, **overrides: Any) -> list[dict[str, Any]]:
    """The bookings it answers."""
    found: list[dict[str, Any]] = json.loads((await batch(conn, *items, **overrides))["body"])["bookings"]
    return found


async def slots(make: Factory, count: int, resource_id: UUID | None = None, **limits: Any) -> list[UUID]:
    """So many slots of one resource, an hour after each other."""
    resource_id = resource_id or await make.resource()
    return [await make.slot(resource_id, starts_at=START + n * HOUR, **limits) for n in range(count)]


async def contents(conn: asyncpg.Connection) -> dict[str, list[str]]:
    """Every row of every table."""
    tables = await conn.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    )
    assert len(tables) > 10
    return {
        table: sorted(row[0] for row in await conn.fetch(f"SELECT to_jsonb(t)::text FROM {table} t"))
        for (table,) in tables
    }


async def test_a_batch_is_a_booking_for_each_item_in_their_order(make: Factory, conn: asyncpg.Connection) -> None:
    first, second, third = await slots(make, 3, max_bookings=2, max_units=9)

    row = await batch(conn, item(third, 3, seat=1), item(first, 2), item(second), item(third, 4, seat=2))

    assert row["replayed"] is False
    made = json.loads(row["body"])["bookings"]
    assert [(b["slot_id"], b["units"], b["metadata"]) for b in made] == [
        (str(third), 3, {"seat": 1}),
        (str(first), 2, {}),
        (str(second), 1, {}),
        (str(third), 4, {"seat": 2}),
    ]
    assert {(b["status"], b["customer_ref"], b["payment_method"]) for b in made} == {
        ("confirmed", "ann", "pay_on_arrival")
    }
    assert [await occupancy(conn, slot) for slot in (first, second, third)] == [(1, 2), (1, 1), (2, 7)]
    assert await one(conn, "SELECT count(*), count(DISTINCT customer_id) FROM bookings") == (4, 1)


async def test_a_booking_of_a_batch_is_as_one_made_alone(make: Factory, conn: asyncpg.Connection) -> None:
    (slot_id,) = await slots(make, 1, max_bookings=2)

    (made,) = await bookings(conn, slot_id)

    assert json.loads((await call_row(conn, "get_booking", p_booking_id=UUID(made["id"])))["body"]) == made
    assert await jobs_of(conn, UUID(made["id"])) == {"complete_booking": "pending"}
    audited = "SELECT performed_by, performed_by_id FROM audit_log WHERE event = 'booking.created'"
    assert await one(conn, audited) == ("admin", "tester")


async def test_a_batch_to_be_paid_now_is_as_many_holds_that_end_together(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    ids = await slots(make, 2, resource_id)
    await put_schedule(conn, resource_id, p_now=NOW, hold_minutes=7)

    made = await bookings(conn, *ids, p_payment_method="pay_now")

    assert [(b["status"], at(b["expires_at"])) for b in made] == [("pending", NOW + timedelta(minutes=7))] * 2


async def fill(make: Factory, slot_id: UUID) -> None:
    await make.booking(slot_id, p_customer='{"ref": "owner"}', p_units=2, p_now=NOW)


async def close(make: Factory, slot_id: UUID) -> None:
    await make.conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", slot_id)


async def begin(make: Factory, slot_id: UUID) -> None:
    await make.conn.execute("UPDATE slots SET starts_at = $2 WHERE id = $1", slot_id, NOW)


async def limit(make: Factory, slot_id: UUID) -> None:
    resource_id = await make.conn.fetchval("SELECT resource_id FROM slots WHERE id = $1", slot_id)
    await put_schedule(make.conn, resource_id, p_now=NOW, max_bookings_per_customer=2)


async def not_open(make: Factory, slot_id: UUID) -> None:
    resource_id = await make.conn.fetchval("SELECT resource_id FROM slots WHERE id = $1", slot_id)
    # open for the first day, not for the last slot's
    later = "UPDATE slots SET starts_at = starts_at + $2, ends_at = ends_at + $2 WHERE id = $1"
    await make.conn.execute(later, slot_id, timedelta(days=2))
    await put_schedule(make.conn, resource_id, p_now=NOW, booking_window_days=2)


Spoil = Callable[[Factory, UUID], Awaitable[None]]
SPOILT: dict[str, tuple[str, Spoil]] = {
    "slot_full": ("SB002", fill),
    "slot_closed": ("SB003", close),
    "slot_in_past": ("SB004", begin),
    "not_open_yet": ("SB011", not_open),
    "limit_reached": ("SB018", limit),
}


@pytest.mark.parametrize("slug", SPOILT)
async def test_one_item_that_cannot_be_had_refuses_the_batch_and_leaves_nothing_behind(
    make: Factory, conn: asyncpg.Connection, slug: str
) -> None:
    first, second, third = await slots(make, 3)
    sqlstate, spoil = SPOILT[slug]
    await spoil(make, third)
    before = await contents(conn)

    with refused(sqlstate, slug):
        await batch(conn, first, second, third, p_customer='{"ref": "newcomer", "name": "New"}', **KEY)

    assert await contents(conn) == before
    assert await occupancy(conn, first) == (0, 0)


async def test_a_slot_that_does_not_exist_refuses_the_batch_and_leaves_nothing_behind(
    make: Factory, conn: asyncpg.Connection
) -> None:
    (slot_id,) = await slots(make, 1)
    before = await contents(conn)

    with refused("SB001", "slot_not_found") as refusal:
        await batch(conn, slot_id, NOBODY)

    assert refusal.detail == {"slot_id": str(NOBODY)}
    assert await contents(conn) == before


async def test_bookings_of_one_slot_are_summed_before_they_are_compared(
    make: Factory, conn: asyncpg.Connection
) -> None:
    (slot_id,) = await slots(make, 1, max_bookings=3)
    await make.booking(slot_id, p_now=NOW)

    with refused("SB002", "slot_full") as refusal:
        await batch(conn, slot_id, slot_id, slot_id)

    # what was left before the batch, not in the middle of it
    assert refusal.detail["remaining_bookings"] == 2
    assert len(await bookings(conn, slot_id, slot_id)) == 2


async def test_units_of_one_slot_are_summed_before_they_are_compared(make: Factory, conn: asyncpg.Connection) -> None:
    (slot_id,) = await slots(make, 1, max_bookings=9, max_units=5)

    with refused("SB008", "insufficient_units") as refusal:
        await batch(conn, item(slot_id, 3), item(slot_id, 3))

    assert (refusal.detail["remaining_bookings"], refusal.detail["remaining_units"]) == (9, 5)
    assert await occupancy(conn, slot_id) == (0, 0)
    assert len(await bookings(conn, item(slot_id, 3), item(slot_id, 2))) == 2
    assert await occupancy(conn, slot_id) == (2, 5)


async def test_a_batch_takes_the_places_of_holds_that_are_over(make: Factory, conn: asyncpg.Connection) -> None:
    (slot_id,) = await slots(make, 1, max_bookings=2)
    for _ in range(2):
        await make.booking(slot_id, p_payment_method="pay_now", p_now=NOW)

    assert len(await bookings(conn, slot_id, slot_id, p_now=NOW + HOUR)) == 2
    assert await occupancy(conn, slot_id) == (2, 2)


async def test_a_batch_takes_no_place_that_somebody_waits_for(make: Factory, conn: asyncpg.Connection) -> None:
    first, second = await slots(make, 2)
    await make.booking(second, p_payment_method="pay_now", p_now=NOW)
    await call_row(conn, "join_waitlist", p_actor=ACTOR, p_slot_id=second, p_customer='{"ref": "waiting"}', p_now=NOW)

    with refused("SB002", "slot_full"):
        await batch(conn, first, second, p_now=NOW + HOUR)

    assert await occupancy(conn, first) == (0, 0)


async def test_the_limit_of_bookings_a_customer_counts_those_of_the_same_batch(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    mine = await slots(make, 3, resource_id, max_bookings=9)
    await put_schedule(conn, resource_id, p_now=NOW, max_bookings_per_customer=2)
    (elsewhere,) = await slots(make, 1)

    with refused("SB018", "limit_reached") as refusal:
        await batch(conn, *mine)
    assert (refusal.detail["limit"], refusal.detail["live_bookings"]) == (2, 2)

    assert len(await bookings(conn, mine[0], elsewhere, mine[1])) == 3
    with refused("SB018", "limit_reached"):
        await batch(conn, mine[2])
    assert len(await bookings(conn, mine[2], p_actor='{"type": "admin", "id": "x", "reason": "a regular"}')) == 1


async def test_a_batch_repeated_is_one_batch_and_one_answer(make: Factory, conn: asyncpg.Connection) -> None:
    ids = await slots(make, 2)

    first = await batch(conn, *ids, **KEY)
    again = await batch(conn, *ids, **KEY)

    assert (first["replayed"], again["replayed"], again["body"]) == (False, True, first["body"])
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 2


async def test_the_answer_is_repeated_also_when_nothing_of_it_could_be_had_any_more(
    make: Factory, conn: asyncpg.Connection
) -> None:
    ids = await slots(make, 2)
    first = await batch(conn, *ids, **KEY)
    await conn.execute("UPDATE slots SET is_legacy = true")

    assert (await batch(conn, *ids, p_now=START + HOUR, **KEY))["body"] == first["body"]


async def test_a_key_serves_one_batch(make: Factory, conn: asyncpg.Connection) -> None:
    one_slot, other = await slots(make, 2)
    await batch(conn, one_slot, **KEY)
    before = await contents(conn)

    with refused("SB010", "idempotency_conflict"):
        await batch(conn, other, p_idempotency_key="k", p_request_hash=b"other")

    assert await contents(conn) == before


async def test_a_refused_batch_leaves_its_key_free(make: Factory, conn: asyncpg.Connection) -> None:
    ids = await slots(make, 2)
    taken = await make.booking(ids[1], p_now=NOW)
    with refused("SB002", "slot_full"):
        await batch(conn, *ids, **KEY)
    await conn.execute("UPDATE bookings SET status = 'cancelled' WHERE id = $1", taken)

    assert (await batch(conn, *ids, **KEY))["replayed"] is False


async def test_a_key_of_a_batch_is_none_of_a_single_booking(make: Factory, conn: asyncpg.Connection) -> None:
    first, second = await slots(make, 2)
    await batch(conn, first, **KEY)

    row = await call_row(
        conn, "create_booking_safe", p_actor=ACTOR, p_slot_id=second, p_customer='{"ref": "ann"}', p_now=NOW, **KEY
    )

    assert row["replayed"] is False


async def test_a_token_books_a_batch_for_its_own_customer_whatever_the_request_says(
    make: Factory, conn: asyncpg.Connection
) -> None:
    actor = '{"type": "customer", "id": "customer:ann", "customer_ref": "ann"}'

    made = await bookings(conn, *await slots(make, 2), p_actor=actor, p_customer='{"ref": "ben", "name": "Ann"}')

    assert [b["customer_ref"] for b in made] == ["ann", "ann"]
    assert await one(conn, "SELECT ref, name FROM customers") == ("ann", "Ann")


@pytest.mark.parametrize(
    ("actor", "ref"), [({}, "ben"), ({"customer_ref": None}, "ben"), ({"customer_ref": "ann"}, "ann")]
)
async def test_own_customer_is_whom_the_token_names_or_else_the_request(
    conn: asyncpg.Connection, actor: dict[str, Any], ref: str
) -> None:
    given = json.dumps({"ref": "ben", "name": "B"})

    found = await call_json(conn, "own_customer", p_actor=json.dumps(actor), p_customer=given)

    assert found == {"ref": ref, "name": "B"}


async def test_book_slot_refuses_in_one_order_whoever_calls_it(make: Factory, conn: asyncpg.Connection) -> None:
    (slot_id,) = await slots(make, 1)
    await fill(make, slot_id)
    book = "SELECT book_slot($1, s, $2, 1, 'pay_on_arrival', '{}', $3) FROM slots s WHERE s.id = $4"

    with refused("SB002", "slot_full"):
        await conn.fetch(book, ACTOR, '{"ref": "ann"}', NOW, slot_id)
    await close(make, slot_id)
    with refused("SB003", "slot_closed"):
        await conn.fetch(book, ACTOR, '{"ref": "ann"}', NOW, slot_id)


@pytest.mark.parametrize(("expires_at", "status"), [(None, "confirmed"), (NOW + HOUR, "pending")])
async def test_place_booking_makes_a_hold_where_it_is_given_an_end(
    make: Factory, conn: asyncpg.Connection, expires_at: Any, status: str
) -> None:
    (slot_id,) = await slots(make, 1)
    customer_id = await call_value(conn, "upsert_customer", p_customer='{"ref": "ann"}')
    place = """
        SELECT b.status, b.expires_at, b.slot_id, b.created_at, b.placed_at, b.metadata
        FROM slots s CROSS JOIN LATERAL place_booking(s, $1, 1, 'pay_now', '{"a": 1}', $2, $3) b WHERE s.id = $4
    """

    made = await one(conn, place, customer_id, expires_at, NOW, slot_id)

    assert made == (status, expires_at, slot_id, NOW, NOW, '{"a": 1}')
