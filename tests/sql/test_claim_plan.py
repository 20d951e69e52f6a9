"""What claim_jobs and its neighbours cost does not depend on how many jobs lie ahead, are due or are over: in pages."""

import asyncpg
import pytest

from tests.concurrency.test_cost import pages, typical
from tests.sql.jobs import MINUTE, NOW, enqueue

COUNTS = {"future": 200_000, "due": 20_000, "over": 100_000}
# an index of many rows is a page or two deeper, for each index of each of ten jobs
SLACK = 150
CLAIM = "SELECT * FROM claim_jobs('one', 'default', 10, interval '30 seconds', '2030-06-03T09:00Z')"
SETTLE = """
    SELECT settle_jobs(jsonb_agg(jsonb_build_object('id', j.id, 'lease_token', j.lease_token, 'outcome', 'processed')))
    FROM (SELECT id, lease_token FROM jobs WHERE status = 'processing' ORDER BY queue, id LIMIT 10) j
"""
LOOKS = {
    "nothing to claim": "SELECT * FROM claim_jobs('one', 'mails', 10, interval '30 seconds', '2030-06-03T09:00Z')",
    "nothing to rescue": "SELECT rescue_jobs(50, '2030-06-03T09:00Z')",
    "how long to sleep": "SELECT next_job_due_in(ARRAY['default', 'mails'], '{complete_booking}', '2030-06-03T09:00Z')",
    "queues that wait": "SELECT * FROM pending_queues()",
    "nothing to forget": "SELECT prune_jobs(500, p_now => '2030-06-03T09:00Z')",
}


async def fill(conn: asyncpg.Connection, counts: dict[str, int]) -> None:
    """So many jobs that lie ahead, are due, and are over, of every priority."""
    await conn.execute("ALTER TABLE jobs SET (autovacuum_enabled = off)")
    await conn.execute(
        """INSERT INTO jobs (
          job_type, queue, dedupe_key, priority, status, attempt, lease_token, scheduled_at, run_at, processed_at,
          created_at, updated_at
        )
        SELECT
          'mail', 'default', gen_random_uuid()::text, n % 4, CASE k.kind WHEN 'over' THEN 'processed' ELSE 'pending' END,
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


async def few_and_many(conn: asyncpg.Connection, *statements: str, is_analyzed: bool) -> list[tuple[float, float]]:
    """What each statement costs where there is little, and where there is much."""
    await fill(conn, {"future": 200, "due": 300, "over": 200})
    few = [await typical(conn, statement) for statement in statements]
    await fill(conn, COUNTS)
    if is_analyzed:
        await conn.execute("ANALYZE jobs")
    return list(zip(few, [await typical(conn, statement) for statement in statements], strict=True))


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_claiming_and_settling_ten_among_many_costs_what_it_costs_among_few(
    conn: asyncpg.Connection, is_analyzed: bool
) -> None:
    claim, settle = await few_and_many(conn, CLAIM, SETTLE, is_analyzed=is_analyzed)

    print("COST", claim, settle)
    assert claim[1] <= claim[0] + SLACK, claim
    assert settle[1] <= settle[0] + SLACK, settle


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_to_find_nothing_costs_the_same_however_much_there_is(
    conn: asyncpg.Connection, is_analyzed: bool
) -> None:
    looks = await few_and_many(conn, *LOOKS.values(), is_analyzed=is_analyzed)

    print("LOOK", dict(zip(LOOKS, looks)))
    dear = {what: cost for what, cost in zip(LOOKS, looks, strict=True) if cost[1] > cost[0] + 30}
    assert dear == {}


async def test_a_claim_costs_the_same_after_the_statistics_of_a_table_in_which_nothing_waited(
    conn: asyncpg.Connection,
) -> None:
    await fill(conn, {"over": 100_000})
    await conn.execute("ANALYZE jobs")
    await fill(conn, {"due": 300})
    before = await typical(conn, CLAIM)

    await fill(conn, {"future": 100_000, "due": 20_000})

    assert await typical(conn, CLAIM) <= before + SLACK


async def test_a_claim_does_not_look_at_each_job_that_was_claimed_before(conn: asyncpg.Connection) -> None:
    # nobody has swept up after them
    await fill(conn, {"due": 20_000})
    first = await typical(conn, CLAIM)

    for _ in range(15):
        await conn.fetch("SELECT FROM claim_jobs('one', 'default', 1000, interval '30 seconds', $1)", NOW)
    await pages(conn, CLAIM)

    assert await typical(conn, CLAIM) <= first + SLACK


async def test_a_retry_far_ahead_does_not_hide_what_is_due(conn: asyncpg.Connection) -> None:
    await fill(conn, {"future": 50_000})
    due = await enqueue(conn, p_priority=3, p_run_at=NOW - MINUTE / 2)

    rows = await conn.fetch(CLAIM)

    assert [row["id"] for row in rows] == [due]
