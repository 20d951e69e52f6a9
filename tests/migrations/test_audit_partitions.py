"""An installed trail becomes partitions with its rows in it, and whoever writes goes on."""

from tests.audit.support import checkpoint, faults, live
from tests.factories import Factory
from tests.migrations.support import connected, down, up
from tests.sql.support import call_value, cancel

ENTRIES = "SELECT count(*), max(id) FROM audit_log"


async def test_an_installed_trail_becomes_a_partition_and_is_written_at_once(dsn: str) -> None:
    await down(dsn, "0030")
    async with connected(dsn) as old:
        await live(old)
        booking_id = await Factory(old).booking()
        await old.execute("GRANT SELECT ON audit_log TO pg_monitor")
        before = await old.fetchrow(ENTRIES)

    await up(dsn)

    async with connected(dsn) as conn:
        assert await conn.fetchrow(ENTRIES) == before
        assert await conn.fetchval("SELECT has_table_privilege('pg_monitor', 'audit_log', 'SELECT')")
        # the ends of chains are noted afterwards, and this one when it is asked for
        assert await conn.fetchval("SELECT count(*) FROM audit_chains") == 0
        await cancel(conn, booking_id)
        trail = "SELECT array_agg(position ORDER BY id) FROM audit_log WHERE subject_id = $1"
        assert await conn.fetchval(trail, str(booking_id)) == [1, 2]
        while await call_value(conn, "backfill_audit_chain", p_limit=7):
            pass
        await checkpoint(conn)
        assert await faults(conn) == []
