"""Whatever the owner of the database does to the trail, verification finds it and says where."""

import asyncpg
import pytest

from tests.audit.support import checkpoint, faults, live
from tests.audit.tampering import EDITS, Tamperer, undone

HOW_MANY = 60


async def tampered(conn: asyncpg.Connection, times: int, seed: int = 0) -> None:
    """Tamper so many times, each time with a trail that is whole, and expect each to be found where it was done."""
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
