"""An erasure and redact_audit_log read what is the customer's, however long the trail is."""

import asyncpg
import pytest

from tests.factories import Factory
from tests.sql.test_privacy import a_past, erase

A_BIG_TRAIL = """
    INSERT INTO audit_log (subject_type, subject_id, event, action_type, new_values, performed_by, performed_by_id,
      request_id, xid)
    SELECT CASE n % 9 WHEN 0 THEN 'credentials' ELSE 'booking' END, gen_random_uuid()::text, 'booking.created',
      'created',
      jsonb_build_object('customer_id', gen_random_uuid()), 'customer',
      CASE n % 2 WHEN 0 THEN 'api_key:x' ELSE 'customer:' || n END, gen_random_uuid()::text, (n + 10000)::text::xid8
    FROM generate_series(1, 20000) n
"""
# how many rows somebody read by walking through a partition
WALKED = """
    SELECT coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables WHERE relname LIKE 'audit\\_log\\_%'
"""
PLANS = (
    "SELECT * FROM audit_log WHERE performed_by_id LIKE 'customer:%' AND performed_by_id = 'customer:' || $1::text",
    "SELECT * FROM audit_log a WHERE a.request_id = ANY (ARRAY[$1::text])",
    "SELECT * FROM audit_log a WHERE a.xid = ANY (ARRAY[$1::text::xid8])",
)


async def a_big_trail(conn: asyncpg.Connection) -> None:
    """Rows of others, around the chains, which an erasure has nothing to do with."""
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute(A_BIG_TRAIL)
    await conn.execute("ANALYZE")


async def test_an_erasure_reads_the_customers_rows_and_not_the_trail(make: Factory, conn: asyncpg.Connection) -> None:
    await a_past(conn, make)
    await a_big_trail(conn)
    await conn.execute("SELECT pg_stat_force_next_flush()")
    before = await conn.fetchval(WALKED)

    erased = await erase(conn)

    await conn.execute("SELECT pg_stat_force_next_flush()")
    assert erased["audit_entries_emptied"] > 3
    assert await conn.fetchval(WALKED) - before < 1000


@pytest.mark.parametrize("query", PLANS)
async def test_no_part_of_an_erasure_walks_through_the_trail(conn: asyncpg.Connection, query: str) -> None:
    await a_big_trail(conn)

    plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN {query}".replace("$1", "'5'")))

    # a partition without rows has nothing to walk through
    assert [line for line in plan.splitlines() if "Seq Scan on audit_log_before" in line] == []
    assert "Index" in plan
