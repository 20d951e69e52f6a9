"""Rows to book into, made set-based: what a run needs is there before its clock starts."""

from datetime import timedelta

import asyncpg

from app.security import SHOWN_PREFIX_LENGTH, hash_token, new_api_key
from benchmarks.booking import (
    CROWDED_SLOT,
    CUSTOMER_NAME,
    CUSTOMER_PREFIX,
    FIRST_CUSTOMER,
    FIRST_DUE_SLOT,
    FIRST_EMPTY_SLOT,
    FIRST_SLOT,
    HOT_SLOT,
    SLOT_PREFIX,
)
from benchmarks.plan import Plan

ACTOR = '{"type": "admin", "id": "benchmark"}'
RESOURCES = 100
# Never full: what is measured is booking, not refusing.
ROOM = 1_000_000_000
# Each booking makes one more version of its slot's row; many in one transaction would make it walk through them all.
BATCH = 200
FUTURE, PAST = timedelta(days=10), timedelta(days=-30)

ADD_RESOURCES = """
INSERT INTO resources (name, timezone) SELECT 'Resource ' || n, 'UTC' FROM generate_series(1, $1) n
"""

ADD_CUSTOMERS = f"""
INSERT INTO customers (ref, name) SELECT '{CUSTOMER_PREFIX}' || n, $3 FROM generate_series($1::bigint, $2) n
"""

# A slot starts as many minutes after $3 as its last six digits say, so that no two are the same.
ADD_SLOTS = f"""
WITH places AS (SELECT id, row_number() OVER (ORDER BY id) - 1 AS turn, count(*) OVER () AS places FROM resources)
INSERT INTO slots (id, resource_id, starts_at, ends_at, max_bookings)
SELECT ('{SLOT_PREFIX}' || n)::uuid, p.id, at.starts_at, at.starts_at + interval '1 hour', {ROOM}
FROM generate_series($1::bigint, $2) n
JOIN places p ON p.turn = n % p.places
CROSS JOIN LATERAL (SELECT now() + $3::interval + n % 1000000 * interval '1 minute') at (starts_at)
"""

# Through every trigger: the place is counted, the job written, the booking audited.
ADD_BOOKINGS = """
WITH crowd AS (SELECT array_agg(id) AS ids FROM customers)
INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status, placed_at)
SELECT s.resource_id, s.id, s.starts_at, s.ends_at, c.ids[1 + n % cardinality(c.ids)], 'confirmed',
  s.starts_at - interval '1 day'
FROM generate_series(1, $2::bigint) n
CROSS JOIN crowd c
JOIN slots s ON s.id = ('{prefix}' || ($1::bigint + n % $3::bigint))::uuid
""".replace("{prefix}", SLOT_PREFIX)


async def seed(connection: asyncpg.Connection, plan: Plan) -> str:
    """Fill an empty schema for the whole run, and return an API key of scope `frontend`."""
    await connection.execute(ADD_RESOURCES, RESOURCES)
    await connection.execute(ADD_CUSTOMERS, FIRST_CUSTOMER, FIRST_CUSTOMER + plan.customers - 1, CUSTOMER_NAME)
    await _add_slots(connection, FIRST_SLOT, plan.slots)
    await _add_slots(connection, FIRST_EMPTY_SLOT, plan.crowd_turns)
    for slot in (HOT_SLOT, CROWDED_SLOT):
        await _add_slots(connection, slot, 1)
    for _ in range(0, plan.crowd, BATCH):
        await connection.execute(ADD_BOOKINGS, CROWDED_SLOT, BATCH, 1)
    await connection.execute("VACUUM ANALYZE")
    return await _frontend_key(connection)


async def add_due_bookings(connection: asyncpg.Connection, plan: Plan, number: int) -> None:
    """`plan.due` confirmed bookings whose end has passed, in slots of their own."""
    first = FIRST_DUE_SLOT + number * plan.due_slots
    await _add_slots(connection, first, plan.due_slots, starting=PAST)
    await connection.execute(ADD_BOOKINGS, first, plan.due, plan.due_slots)
    await connection.execute("VACUUM ANALYZE")


async def _add_slots(connection: asyncpg.Connection, first: int, count: int, starting: timedelta = FUTURE) -> None:
    await connection.execute(ADD_SLOTS, first, first + count - 1, starting)


async def _frontend_key(connection: asyncpg.Connection) -> str:
    key = new_api_key()
    shown = key[:SHOWN_PREFIX_LENGTH]
    await connection.execute(
        "SELECT create_api_key($1, 'benchmark', $2, $3, '{frontend}')", ACTOR, shown, hash_token(key)
    )
    return key
