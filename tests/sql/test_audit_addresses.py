"""forget_audit_addresses: where from and with what is forgotten after a time, and the trail stands.

audit_address_hash is what the hash is made of, forgotten_audit_entry what is left.
"""

from datetime import datetime, timedelta

import asyncpg
import pytest

from tests.audit.support import checkpoint, faults, live
from tests.audit.tampering import undone
from tests.factories import Factory
from tests.sql.support import call_value, one, refused

KEEP = timedelta(days=30)
KEPT = "SELECT count(*) FROM audit_log WHERE num_nonnulls(ip_address, user_agent, address_salt) > 0"
FORGET = "UPDATE audit_log SET ip_address = NULL, user_agent = NULL, address_salt = NULL"


async def forget(conn: asyncpg.Connection, days: int = 31, limit: int = 500) -> int:
    """One turn, so many days later."""
    now: datetime = await conn.fetchval("SELECT now()")
    return int(
        await call_value(conn, "forget_audit_addresses", p_limit=limit, p_keep=KEEP, p_now=now + timedelta(days=days))
    )


async def test_addresses_go_in_their_time_and_the_trail_is_as_it_was(conn: asyncpg.Connection) -> None:
    await live(conn)
    await checkpoint(conn)
    before = await conn.fetch("SELECT id, hash FROM audit_log ORDER BY id")
    kept = await conn.fetchval(KEPT)

    assert await forget(conn, days=29) == 0
    assert [await forget(conn, limit=kept - 2) for _ in range(3)] == [kept - 2, 2, 0]

    assert await conn.fetchval(KEPT) == 0
    assert await conn.fetch("SELECT id, hash FROM audit_log ORDER BY id") == before
    assert await faults(conn) == []


async def test_what_is_left_tells_nobody_what_it_was(conn: asyncpg.Connection, make: Factory) -> None:
    """The salt of each row is its own: two rows of one address do not look alike."""
    await make.booking()
    await make.booking()
    salts = await conn.fetchval("SELECT count(DISTINCT address_salt) FROM audit_log WHERE ip_address IS NOT NULL")

    done = await forget(conn)

    assert done == salts == await conn.fetchval("SELECT count(DISTINCT address_hash) FROM audit_log") > 3


@pytest.mark.parametrize(
    "change",
    [
        "ip_address = '192.0.2.1'",
        "user_agent = 'another'",
        "address_salt = 'x'",
        "address_hash = sha256(address_hash)",
    ],
)
async def test_an_address_that_comes_back_or_another_hash_is_found(
    conn: asyncpg.Connection, make: Factory, change: str
) -> None:
    booking_id = await make.booking()
    await forget(conn)

    async with undone(conn):
        await conn.execute("ALTER TABLE audit_log DROP CONSTRAINT audit_log_address_check")
        await conn.execute(f"UPDATE audit_log SET {change} WHERE subject_type = 'booking'")
        found = await faults(conn)

    assert [(fault.subject_id, fault.fault) for fault in found] == [(str(booking_id), "changed")]


async def test_nobody_forgets_an_address_without_leaving_its_hash(conn: asyncpg.Connection, make: Factory) -> None:
    """audit_log_guard_update: nothing else goes with it, and what is in its place is true."""
    await make.booking()

    for statement in (FORGET, f"{FORGET}, address_hash = 'x'", "UPDATE audit_log SET ip_address = NULL"):
        with refused("SB012", "change_refused"):
            await conn.execute(statement)
    with refused("SB012", "change_refused"):
        await conn.execute(f"{FORGET}, address_hash = audit_address_hash(audit_log), reason = 'x'")

    await conn.execute(f"{FORGET}, address_hash = audit_address_hash(audit_log) WHERE address_salt IS NOT NULL")
    assert await faults(conn) == []


async def test_a_salt_and_what_is_made_of_it_do_not_stand_side_by_side(conn: asyncpg.Connection, make: Factory) -> None:
    await make.booking()

    async with undone(conn):
        with pytest.raises(asyncpg.CheckViolationError):
            await conn.execute("UPDATE audit_log SET address_hash = 'x' WHERE subject_type = 'booking'")


async def test_addresses_of_a_customer_under_a_legal_hold_stay(conn: asyncpg.Connection, make: Factory) -> None:
    await make.booking(p_customer='{"ref": "held"}')
    await make.booking(p_customer='{"ref": "bob"}')
    await conn.execute("UPDATE customers SET legal_hold_since = now(), legal_hold_reason = 'c' WHERE ref = 'held'")

    await forget(conn)

    left = """SELECT array_agg(event ORDER BY id), count(DISTINCT coalesce(new_values ->> 'customer_id', subject_id))
    FROM audit_log WHERE address_salt IS NOT NULL AND ip_address = '192.0.2.1'"""
    assert await one(conn, left) == (["customer.created", "booking.created"], 1)


async def test_rows_from_before_salts_keep_what_their_hash_is_made_of(conn: asyncpg.Connection, make: Factory) -> None:
    await make.booking()
    await conn.execute("SET session_replication_role = replica")
    await conn.execute("UPDATE audit_log SET address_salt = NULL")
    await conn.execute("UPDATE audit_log a SET hash = audit_hash(a), prev_hash = NULL")
    await conn.execute("RESET session_replication_role")

    assert await forget(conn) == 0
