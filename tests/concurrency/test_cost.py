"""What a booking costs does not depend on how many the slot holds, counted in pages of memory, not in time."""

import json
from statistics import median
from uuid import UUID

import asyncpg
import pytest

from app.database import SESSION
from tests.concurrency.rivals import assert_counters_equal_a_recount
from tests.conftest import Connect
from tests.factories import ACTOR, SYSTEM, Factory, make_customer

CROWD = 30_000
# a page that an index happens to split, the planner's look at the ends of an index
SLACK = 50


async def fill(conn: asyncpg.Connection, slot_id: UUID, customer_id: UUID) -> None:
    """A crowd in that slot. Triggers sleep for the load alone, so the counters are set here."""
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute(
            f"""INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status)
            SELECT s.resource_id, s.id, s.starts_at, s.ends_at, $2, 'confirmed'
            FROM slots s, generate_series(1, {CROWD}) WHERE s.id = $1""",
            slot_id,
            customer_id,
        )
        await conn.execute(f"UPDATE slots SET booked_bookings = {CROWD}, booked_units = {CROWD} WHERE id = $1", slot_id)
    await conn.execute("VACUUM (ANALYZE) bookings")


async def pages(conn: asyncpg.Connection, statement: str, *arguments: object) -> int:
    """How many pages the statement touched, in its functions and triggers too."""
    plan = json.loads(await conn.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments))[0]
    return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


async def typical(conn: asyncpg.Connection, statement: str, *arguments: object) -> float:
    # plans are made in the first calls, and looked up in the catalogue
    return median([await pages(conn, statement, *arguments) for _ in range(12)][6:])


BOOK = 'SELECT * FROM create_booking_safe($1, $2, \'{"ref": "ann"}\')'
BOOK_ONCE = f"{BOOK[:-1]}, p_idempotency_key => gen_random_uuid()::text, p_request_hash => '')"
# refusals raise, and EXPLAIN shows nothing of what has raised: so what they do before is measured by itself
MAKE_ROOM = "SELECT expire_slot_holds($1)"
CANCEL = "SELECT * FROM cancel_booking($1, $2, 1)"


MORE_SLOTS = """
    INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings)
    SELECT s.resource_id, s.starts_at + n * interval '1 day', s.ends_at + n * interval '1 day', 1000
    FROM slots s, generate_series(1, 999) n WHERE s.id = $1
"""
# in a function, for what triggers touch afterwards is not counted as the statement's own
PUT_IN = """
    CREATE FUNCTION pg_temp.put_in(p_customer_id uuid, p_each integer) RETURNS void LANGUAGE sql AS $$
      INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status)
      SELECT s.resource_id, s.id, s.starts_at, s.ends_at, p_customer_id, 'confirmed'
      FROM slots s, generate_series(1, p_each)
    $$
"""
MANY_OF_ONE_NAME = f"""
    INSERT INTO audit_log (
      subject_type, subject_id, event, action_type, new_values, performed_by, performed_by_id, request_id
    )
    SELECT 'booking', n, 'booking.created', 'created', '{{}}', 'customer', 'api_key:x', $1
    FROM generate_series(1, {CROWD}) n
"""


@pytest.fixture
async def crowded(make: Factory, conn: asyncpg.Connection) -> UUID:
    slot_id = await make.slot(max_bookings=1_000_000)
    await fill(conn, slot_id, await make_customer(conn))
    await assert_counters_equal_a_recount(conn)
    return slot_id


async def test_booking_and_cancelling_among_tens_of_thousands_cost_what_they_cost_alone(
    make: Factory, conn: asyncpg.Connection, crowded: UUID
) -> None:
    empty = await make.slot(max_bookings=1_000_000)

    alone, among_many = [await typical(conn, BOOK, ACTOR, slot_id) for slot_id in (empty, crowded)]
    assert 0 < among_many <= alone + SLACK

    cancels = {}
    for slot_id in (empty, crowded):
        booked = [await make.booking(slot_id) for _ in range(12)]
        cancels[slot_id] = median([await pages(conn, CANCEL, ACTOR, booking_id) for booking_id in booked][6:])
    assert 0 < cancels[crowded] <= cancels[empty] + SLACK
    await assert_counters_equal_a_recount(conn)


async def test_a_booking_among_many_put_in_by_hand_costs_what_one_of_few_does(
    make: Factory, conn: asyncpg.Connection
) -> None:
    """By plans that a session made, and keeps, while the tables were empty."""
    slot_id, customer_id = await make.slot(max_bookings=1000), await make_customer(conn)
    await conn.execute(MORE_SLOTS, slot_id)
    await conn.execute(PUT_IN)
    await conn.execute("VACUUM (ANALYZE)")

    put_in = "SELECT pg_temp.put_in($1, $2)"
    few, many = [await pages(conn, put_in, customer_id, each) / (1000 * each) for each in (1, 4)]

    assert 0 < many <= few + SLACK / 2


async def test_booking_costs_the_same_for_a_caller_that_names_all_its_requests_alike(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(max_bookings=1_000_000)
    first = await typical(conn, BOOK, ACTOR, slot_id)
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute(MANY_OF_ONE_NAME, json.loads(ACTOR)["request_id"])

    assert 0 < await typical(conn, BOOK, ACTOR, slot_id) <= first + SLACK


async def test_looking_for_holds_that_are_over_costs_the_same_in_a_crowded_slot(
    make: Factory, conn: asyncpg.Connection, crowded: UUID
) -> None:
    # everyone who is refused at a full slot pays for this look, with the slot locked
    empty = await make.slot()

    alone, among_many = [await typical(conn, MAKE_ROOM, slot_id) for slot_id in (empty, crowded)]

    assert among_many <= alone + SLACK


async def test_plans_of_a_database_that_was_empty_serve_in_the_rush(make: Factory, connect: Connect) -> None:
    ours = await connect()
    for setting in SESSION.items():
        await ours.execute("SELECT set_config($1, $2, false)", *setting)
    slot_id = await make.slot(max_bookings=1_000_000)
    await ours.execute("ANALYZE")
    few = await typical(ours, BOOK_ONCE, ACTOR, slot_id)

    await make.conn.execute(
        "INSERT INTO customers (ref) SELECT gen_random_uuid()::text FROM generate_series(1, $1::integer)", CROWD
    )
    await make.conn.execute(
        """INSERT INTO idempotency_keys SELECT 'p', 'create_booking', gen_random_uuid()::text, '', '{}', now()
        FROM generate_series(1, $1::integer)""",
        CROWD,
    )

    assert await typical(ours, BOOK_ONCE, ACTOR, slot_id) <= few + SLACK


async def test_a_sweep_with_nothing_due_costs_the_same_however_many_bookings_wait(
    conn: asyncpg.Connection, crowded: UUID
) -> None:
    statements = [f"SELECT {sweep}_due_bookings($1, 500)" for sweep in ("complete", "expire")]
    before = [await typical(conn, statement, SYSTEM) for statement in statements]

    await conn.execute(
        """INSERT INTO jobs (job_type, dedupe_key, booking_id, scheduled_at, run_at)
        SELECT 'complete_booking', b.id::text, b.id, b.ends_at, b.ends_at FROM bookings b WHERE b.slot_id = $1""",
        crowded,
    )
    await conn.execute("VACUUM (ANALYZE) jobs")

    after = [await typical(conn, statement, SYSTEM) for statement in statements]
    assert all(b <= a + SLACK for a, b in zip(before, after, strict=True)), (before, after)
