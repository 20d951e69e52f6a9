"""What claim_jobs and its neighbours cost does not depend on how many jobs lie ahead, are due or are over: in pages."""

from statistics import median

import asyncpg

from tests.concurrency.rivals import until
from tests.concurrency.test_cost import pages, typical
from tests.sql.jobs import MINUTE, NOW, enqueue

COUNTS = {"future": 100_000, "due": 20_000, "over": 30_000}
STATEMENTS = {
    "claim ten": "SELECT * FROM claim_jobs('one', 'default', 10, interval '30 seconds', '2030-06-03T09:00Z')",
    "claim nothing": "SELECT * FROM claim_jobs('one', 'mails', 10, interval '30 seconds', '2030-06-03T09:00Z')",
    "rescue nothing": "SELECT rescue_jobs(50, '2030-06-03T09:00Z')",
    "forget nothing": "SELECT prune_jobs(500, p_now => '2030-06-03T09:00Z')",
    "how long to sleep": "SELECT next_job_due_in(ARRAY['default', 'mails'], '{complete_booking}', '2030-06-03T09:00Z')",
    "queues that wait": "SELECT * FROM pending_queues()",
}
CLAIM = STATEMENTS["claim ten"]
HELD = """
    SELECT jsonb_agg(jsonb_build_object('id', j.id, 'lease_token', j.lease_token, 'outcome', 'processed'))
    FROM (SELECT id, lease_token FROM jobs WHERE status = 'processing' ORDER BY queue, id LIMIT 10) j
"""
SETTLE = "SELECT settle_jobs($1, '2030-06-03T09:00Z')"
COMPLETE = """
    SELECT complete_jobs(array_agg((j ->> 'id')::uuid), array_agg((j ->> 'lease_token')::bigint), '2030-06-03T09:00Z')
    FROM jsonb_array_elements($1) j
"""
# an index of many rows is a page deeper: for each look at one, and for each index of each of ten jobs that change
SLACK = dict.fromkeys(STATEMENTS, 20) | {"claim ten": 100, "settle ten": 300, "complete ten": 300}
# and whoever looks for lost jobs, or for the next that is due, passes by some hundred that ran or were claimed a moment
# ago, until nobody on the server can see them any more
SLACK |= dict.fromkeys(("rescue nothing", "how long to sleep", "queues that wait"), 200)
CLAIMED_BEFORE = 15_000


async def fill(conn: asyncpg.Connection, counts: dict[str, int]) -> None:
    """So many jobs that lie ahead, are due, and are over, of every priority."""
    await conn.execute("ALTER TABLE jobs SET (autovacuum_enabled = off)")
    await conn.execute(
        """INSERT INTO jobs (
          job_type, queue, dedupe_key, priority, status, attempt, lease_token, scheduled_at, run_at, processed_at,
          created_at, updated_at
        )
        SELECT
          'mail', 'default', gen_random_uuid()::text, n % 4,
          CASE k.kind WHEN 'over' THEN 'processed' ELSE 'pending' END,
          (k.kind = 'over')::integer, (k.kind = 'over')::integer, t.at, t.at, CASE k.kind WHEN 'over' THEN t.at END,
          t.at, t.at
        FROM unnest($1::text[], $2::integer[]) k (kind, jobs)
        CROSS JOIN generate_series(1, k.jobs) n
        CROSS JOIN LATERAL (
          SELECT $3::timestamptz + CASE k.kind WHEN 'future' THEN n ELSE -n % 50000 END * interval '1 second' AS at
        ) t""",
        list(counts),
        list(counts.values()),
        NOW,
    )


async def test_what_is_done_to_ten_among_many_costs_what_it_costs_among_few(conn: asyncpg.Connection) -> None:
    async def costs() -> dict[str, float]:
        claims = {what: await typical(conn, statement) for what, statement in STATEMENTS.items()}
        settles = [await pages(conn, SETTLE, await conn.fetchval(HELD)) for _ in range(12)]
        completes = [await pages(conn, COMPLETE, await conn.fetchval(HELD)) for _ in range(12)]
        return claims | {"settle ten": median(settles[6:]), "complete ten": median(completes[6:])}

    await fill(conn, {"future": 200, "due": 300, "over": 200})
    few = await costs()

    # neither statistics of how it was before nor those of how it is now mislead
    await fill(conn, COUNTS)
    for statistics in ("before", "now"):
        dear = {what: (few[what], cost) for what, cost in (await costs()).items() if cost > few[what] + SLACK[what]}
        assert dear == {}, statistics
        await conn.execute("ANALYZE jobs")


async def test_a_claim_costs_the_same_after_the_statistics_of_a_table_in_which_nothing_waited(
    conn: asyncpg.Connection,
) -> None:
    await fill(conn, {"over": 50_000})
    await conn.execute("ANALYZE jobs")
    await fill(conn, {"due": 300})
    before = await typical(conn, CLAIM)

    await fill(conn, {"future": 50_000, "due": 20_000})

    assert await typical(conn, CLAIM) <= before + SLACK["claim ten"]


async def test_a_claim_passes_over_whole_pages_of_what_was_claimed_before(conn: asyncpg.Connection) -> None:
    await fill(conn, {"due": CLAIMED_BEFORE + 5000})
    first = await typical(conn, CLAIM)

    claimed = "SELECT count(*) FROM claim_jobs('one', 'default', $1, interval '30 seconds', '2030-06-03T09:00Z')"
    assert await conn.fetchval(claimed, CLAIMED_BEFORE) == CLAIMED_BEFORE
    # while anybody on the server has been at work for longer, nobody knows that these are seen no more
    xid = await conn.fetchval("SELECT pg_current_xact_id()::text")
    await until(conn, f"(SELECT pg_snapshot_xmin(pg_current_snapshot()) > '{xid}')")

    assert await typical(conn, CLAIM) <= first + CLAIMED_BEFORE / 40
    await conn.execute("VACUUM jobs")
    assert await typical(conn, CLAIM) <= first + SLACK["claim ten"]


async def test_a_retry_far_ahead_does_not_hide_what_is_due(conn: asyncpg.Connection) -> None:
    await fill(conn, {"future": 50_000})
    due = await enqueue(conn, p_priority=3, p_run_at=NOW - MINUTE / 2)

    rows = await conn.fetch(CLAIM)

    assert [row["id"] for row in rows] == [due]
