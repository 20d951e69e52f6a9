"""Auto-syncs can be taken back without losing one: docs/auto-syncs.md says how."""

import json
from typing import Any

import asyncpg

from tests.auto_syncs.test_docs import commands
from tests.migrations.support import connected, definitions_at, down, up
from tests.sql.auto_syncs import REMINDER, START, answer, by_email, pending, started, two_times
from tests.sql.support import call_value

TABLES = ("crews", "crew_members", "auto_syncs", "auto_sync_times", "auto_sync_participants")
BEFORE = "0024"


async def rows(dsn: str) -> dict[str, Any]:
    """What the tables of the feature hold."""
    query = "SELECT coalesce(json_agg(to_jsonb(t) ORDER BY t.id), '[]') FROM {} t"
    async with connected(dsn) as conn:
        return {table: json.loads(await conn.fetchval(query.format(table))) for table in TABLES}


async def test_what_was_asked_and_answered_stays_and_goes_on_afterwards(dsn: str, conn: asyncpg.Connection) -> None:
    await by_email(conn)
    sync = await started(conn, p_times=two_times())
    await answer(conn, sync, "ann")
    before = await rows(dsn)

    await down(dsn, BEFORE)

    assert f"alembic downgrade {BEFORE}" in "\n".join(commands("sh"))
    assert await rows(dsn) == before
    assert [name for name in await definitions_at(dsn) if "auto_sync" in name or "crew" in name] == []
    async with connected(dsn) as old:
        assert await pending(old, sync) == []
        assert await old.fetchval("SELECT count(*) FROM messages WHERE status = 'pending'") == 0
        assert await old.fetchval("SELECT count(*) FROM pg_policies WHERE schemaname = 'holdfast'") == 0

    await up(dsn)
    assert await rows(dsn) == before
    async with connected(dsn) as new:
        assert await call_value(new, "backfill_jobs", p_limit=500, p_now=START) == 1
        assert await pending(new, sync) == [("auto_sync_reminder", REMINDER)]


async def test_what_is_written_meanwhile_goes_on_too(dsn: str, conn: asyncpg.Connection) -> None:
    sync = await started(conn)
    await down(dsn, BEFORE)
    async with connected(dsn) as old:
        await old.execute("UPDATE auto_syncs SET event_name = 'Another', reminded_at = $1", REMINDER)

    await up(dsn)

    async with connected(dsn) as new:
        await new.execute("SELECT backfill_jobs(500)")
        assert [job_type for job_type, _ in await pending(new, sync)] == ["auto_sync_pause_check"]
