"""Whatever the owner of the database does to the trail, verification finds it and says where."""

from datetime import UTC, datetime

import asyncpg
import pytest

from tests.audit.support import checkpoint, faults, live
from tests.audit.tampering import EDITS, Tamperer, undone
from tests.factories import SYSTEM
from tests.sql.support import call_value

HOW_MANY = 60
NOTE = """
    INSERT INTO audit_log (subject_type, subject_id, event, action_type, new_values, performed_by, performed_by_id,
      request_id, created_at)
    VALUES ('note', $1, 'note.made', 'created', '{}', 'admin', 'x', 'r', $2)
"""


async def months(conn: asyncpg.Connection) -> None:
    """Notes in several partitions, of which the first went on record."""
    for name in "abc":
        await conn.execute(NOTE, name, datetime.now(UTC))
    later = datetime(2041, 3, 1, tzinfo=UTC)
    await call_value(conn, "drop_audit_month", p_actor=SYSTEM, p_limit=500, p_keep_months=12, p_now=later)
    await call_value(conn, "make_audit_partitions", p_now=later)
    for month in (3, 4):
        for name in "abcd":
            await conn.execute(NOTE, name, datetime(2041, month, 9, tzinfo=UTC))


async def tampered(conn: asyncpg.Connection, times: int, seed: int = 0) -> None:
    """Tamper so many times, each time with a trail that is whole, and expect each to be found where it was done."""
    await months(conn)
    await live(conn)
    up_to = (await checkpoint(conn))["up_to"]
    await conn.execute("UPDATE bookings SET metadata = '{\"seat\": 5}'")
    assert await faults(conn) == []

    for number in range(times):
        async with undone(conn):
            tamperer = Tamperer(conn, up_to, seed * 10_000 + number)
            touched = await tamperer.tamper()
            found = await faults(conn)
        assert touched <= {(fault.subject_type, fault.subject_id) for fault in found}, (number, touched, found)
        # the subject that a row was moved to is one more
        elsewhere = {fault.subject_id.rstrip("x") for fault in found} - {subject_id for _, subject_id in touched}
        assert elsewhere == set(), (number, touched, found)

    assert await faults(conn) == []


async def test_random_tamperings_are_found_where_they_were_done(conn: asyncpg.Connection) -> None:
    await tampered(conn, HOW_MANY)


@pytest.mark.parametrize("column", sorted(set(EDITS) - {"id", "position", "subject_id"}))
async def test_an_edit_of_any_column_is_found_in_its_row(conn: asyncpg.Connection, column: str) -> None:
    await live(conn)
    row = await conn.fetchrow(f"SELECT * FROM audit_log WHERE {column} IS NOT NULL ORDER BY id DESC LIMIT 1")
    assert row is not None

    async with undone(conn):
        await conn.execute(f"UPDATE audit_log SET {column} = {EDITS[column]} WHERE id = $1", row["id"])
        found = await faults(conn)

    assert row["id"] in {fault.audit_id for fault in found}
