"""A dump restores: no rule stands between an old row and a new database."""

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.embedded import find_binaries
from tests.factories import HOUR, SYSTEM, Factory
from tests.migrations.support import connected, definitions_at
from tests.sql.support import call_value, cancel, raw_booking, refused

LONG_AGO = datetime.now(UTC) - timedelta(days=400)
TABLES = ("resources", "slots", "customers", "bookings", "jobs", "audit_log", "idempotency_keys", "api_keys")


def run(program: str, *arguments: str | Path) -> str:
    """Run a program that came with the server's own."""
    pg_bin = os.environ.get("PG_BIN")
    command = [find_binaries(Path(pg_bin) if pg_bin else None) / program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def require_pg_dump_for(conn: asyncpg.Connection) -> None:
    """Skip where our programs are older than the server, as they may be where somebody else's is used."""
    ours = re.search(r"\) (\d+)", run("pg_dump", "--version"))
    server = conn.get_server_version().major
    if ours is None or int(ours[1]) < server:
        pytest.skip(f"pg_dump is older than the server, which is PostgreSQL {server}")


async def live_for_a_year(conn: asyncpg.Connection) -> None:
    """Bookings of long ago in every state that time brings them to, and some of today."""
    make = Factory(conn)
    then = LONG_AGO - timedelta(days=1)
    for hours in range(3):
        slot_id = await make.slot(starts_at=LONG_AGO + hours * HOUR, max_bookings=3)
        for n in range(2):
            await make.booking(slot_id, p_now=then, p_idempotency_key=f"{hours}-{n}", p_request_hash=b"hash")
        await make.booking(slot_id, p_now=then, p_payment_method="pay_now")
    await call_value(conn, "complete_due_bookings", p_actor=SYSTEM, p_limit=2)
    await call_value(conn, "expire_due_bookings", p_actor=SYSTEM, p_limit=2)
    await raw_booking(conn, await make.slot(starts_at=LONG_AGO, max_units=9), units=9, external_id="old-1")
    await cancel(conn, await make.booking(p_customer='{"name": "Zoë \\"\\\\N\\"", "email": "z@example.com"}'))


async def rows(conn: asyncpg.Connection) -> dict[str, Any]:
    """All rows of all tables, as text."""
    return {table: await conn.fetch(f"SELECT t::text FROM {table} t ORDER BY 1") for table in TABLES}


async def test_a_database_with_a_past_restores_into_an_empty_one(
    dsn: str, conn: asyncpg.Connection, empty_dsn: str, tmp_path: Path
) -> None:
    require_pg_dump_for(conn)
    await live_for_a_year(conn)
    dump = tmp_path / "dump.sql"

    run("pg_dump", "--no-password", "--file", dump, dsn)
    run("psql", "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f", dump, empty_dsn)

    async with connected(empty_dsn) as restored:
        assert await rows(restored) == await rows(conn)
        await live_on(restored)
    assert set(await definitions_at(empty_dsn)) == set(await definitions_at(dsn))


async def live_on(conn: asyncpg.Connection) -> None:
    """The restored database counts, guards, refers and completes as the first one did."""
    assert await call_value(conn, "complete_due_bookings", p_actor=SYSTEM, p_limit=100) == 5
    with refused("SB012", "change_refused"):
        await conn.execute("DELETE FROM bookings")
    await Factory(conn).booking()
    assert await conn.fetchval("SELECT count(*) FROM bookings WHERE reference IS NULL") == 0
