"""audit_log_chain, audit_hash, audit_log_guard_update, backfill_audit_chain: each subject's rows are one chain."""

import asyncio
import hashlib

import asyncpg
import pytest

from tests.audit.support import faults, live
from tests.concurrency.rivals import until_waiting
from tests.conftest import Connect
from tests.factories import Factory
from tests.sql.support import call_value, cancel, refused, violates

CHAIN = "SELECT position, prev_hash, hash, id FROM audit_log WHERE subject_id = $1 ORDER BY id"
INSERT = """
    INSERT INTO audit_log (subject_type, subject_id, event, action_type, new_values, performed_by, performed_by_id,
      position, hash)
    SELECT 'booking', $1, 'booking.modified', 'created', '{}', 'admin', 'x', 40 + n, 'mine'
    FROM generate_series(1, $2) n
"""
HASHED = (
    '[2, "00ff", 7, "booking", "b", "booking.cancelled", "cancelled", {"a": 1.50}, {"a": null, "z": "ä"}, [], '
    '"admin", "x", "2001:db8::1/128", "", null, "r", 1795255200000001]'
)
UNCHAINED = "UPDATE audit_log SET position = NULL, prev_hash = NULL, hash = NULL"


async def unchain(conn: asyncpg.Connection, where: str = "true") -> None:
    """Rows as they were before there were chains."""
    await conn.execute("SET session_replication_role = replica")
    await conn.execute(f"{UNCHAINED} WHERE {where}")
    await conn.execute("DELETE FROM audit_chains")
    await conn.execute("INSERT INTO audit_backfill VALUES ('', '')")
    await conn.execute("RESET session_replication_role")


async def test_each_row_is_chained_to_the_one_before_it_of_its_subject(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    await cancel(conn, booking_id)

    first, second = await conn.fetch(CHAIN, str(booking_id))

    assert (first["position"], first["prev_hash"]) == (1, None)
    assert (second["position"], second["prev_hash"]) == (2, first["hash"])
    assert len(second["hash"]) == 32


@pytest.mark.parametrize(
    "claimed",
    [
        "'modified', '{}', NULL, 'admin'",
        "'created', '{}', '{}', 'admin'",
        "'deleted', '{}', '{}', 'admin'",
        "'created', NULL, '{}', 'nobody'",
    ],
)
async def test_a_row_inserted_by_hand_whose_states_or_actor_cannot_be_is_refused(
    conn: asyncpg.Connection, claimed: str
) -> None:
    columns = "subject_type, subject_id, event, performed_by_id, action_type, old_values, new_values, performed_by"

    with refused("SB012", "change_refused") as refusal:
        await conn.execute(f"INSERT INTO audit_log ({columns}) VALUES ('booking', 'b', 'booking.x', 'x', {claimed})")

    assert refusal.detail == {"table": "audit_log", "operation": "insert"}


async def test_rows_inserted_by_hand_are_chained_too_whatever_they_claim(
    make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = await make.booking()

    await conn.execute(INSERT, str(booking_id), 2)

    rows = await conn.fetch(CHAIN, str(booking_id))
    assert [row["position"] for row in rows] == [1, 2, 3]
    assert [row["prev_hash"] for row in rows[1:]] == [row["hash"] for row in rows[:-1]]


@pytest.mark.parametrize(
    "setting",
    [
        "TimeZone = 'Asia/Tokyo'",
        "DateStyle = 'German'",
        "IntervalStyle = 'iso_8601'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "lc_numeric = 'C'",
        "client_encoding = 'LATIN1'",
    ],
)
async def test_audit_hash_is_the_same_in_every_session(conn: asyncpg.Connection, setting: str) -> None:
    await live(conn)

    await conn.execute(f"SET {setting}")

    assert await conn.fetchval("SELECT count(*) FROM audit_log a WHERE hash <> audit_hash(a)") == 0


async def test_audit_hash_is_as_it_always_was(conn: asyncpg.Connection) -> None:
    entry = """ROW(7, 'booking', 'b', 'booking.cancelled', 'cancelled', '{"a": 1.50}', '{"z": "ä", "a": null}', '{}',
      'admin', 'x', '2001:db8::1', '', NULL, 'r', '2026-11-21 12:00:00.000001+02', '99', 2,
      '\\x00ff', '\\xaa', NULL, NULL)::audit_log"""

    found = await conn.fetchval(f"SELECT encode(audit_hash({entry}), 'hex')")

    assert found == hashlib.sha256(HASHED.encode()).hexdigest()


async def test_two_dates_of_a_resource_changed_at_once_are_one_chain(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    resource_id, rival = await make.resource(), await connect()
    insert = "INSERT INTO schedule_exceptions (resource_id, date, hours) VALUES ($1, date '2031-01-01' + $2::int, '[]')"

    async with conn.transaction():
        await conn.execute(insert, resource_id, 1)
        second = asyncio.ensure_future(rival.execute(insert, resource_id, 2))
        await until_waiting(await connect(), 1)
    await second

    rows = await conn.fetch("SELECT position FROM audit_log WHERE subject_type = 'schedule_exception' ORDER BY id")
    assert [row["position"] for row in rows] == [1, 2]
    assert await faults(conn) == []


async def test_a_fork_of_a_chain_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    await conn.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_chain")

    with violates("audit_log_position_key"):
        await conn.execute(INSERT.replace("40 + n", "n"), str(booking_id), 1)


@pytest.mark.parametrize(
    "change",
    [
        "reason = 'nothing happened'",
        "position = 7",
        "hash = sha256(hash)",
        "xid = NULL",
        "position = NULL, prev_hash = NULL, hash = NULL",
    ],
)
async def test_audit_log_guard_update_refuses_every_change(
    make: Factory, conn: asyncpg.Connection, change: str
) -> None:
    await make.booking()

    with refused("SB012", "change_refused") as refusal:
        await conn.execute(f"UPDATE audit_log SET {change}")

    assert refusal.detail == {"table": "audit_log", "operation": "update"}


async def test_a_row_is_chained_by_its_true_hash_alone(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()
    await unchain(conn)

    with refused("SB012", "change_refused"):
        await conn.execute("UPDATE audit_log SET position = 1, hash = 'another'")


async def test_backfill_audit_chain_chains_old_rows_in_batches(conn: asyncpg.Connection) -> None:
    await live(conn)
    chains = "SELECT id, position, prev_hash, hash FROM audit_log ORDER BY id"
    before = await conn.fetch(chains)
    await unchain(conn)
    assert {fault.fault for fault in await faults(conn)} == {"unchained"}

    batches: list[int] = []
    while not batches or batches[-1] == 10:
        batches.append(await call_value(conn, "backfill_audit_chain", p_limit=10))

    assert sum(batches) == len(before)
    assert await conn.fetch(chains) == before
    assert await faults(conn) == []


async def test_what_is_written_before_old_rows_are_chained_waits_for_them(
    make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = await make.booking()
    await unchain(conn)

    await cancel(conn, booking_id)

    assert [row["position"] for row in await conn.fetch(CHAIN, str(booking_id))] == [None, None]
    await call_value(conn, "backfill_audit_chain", p_limit=100)
    assert [row["position"] for row in await conn.fetch(CHAIN, str(booking_id))] == [1, 2]
    assert await faults(conn) == []


async def test_two_who_chain_old_rows_at_once_do_not_meet(conn: asyncpg.Connection, connect: Connect) -> None:
    await live(conn)
    rival = await connect()
    await unchain(conn)

    async with conn.transaction():
        done = await call_value(conn, "backfill_audit_chain", p_limit=20)
        second = asyncio.ensure_future(call_value(rival, "backfill_audit_chain", p_limit=1000))
        await until_waiting(await connect(), 1)
    done += await second + await call_value(conn, "backfill_audit_chain", p_limit=1000)

    # the rows, then where each chain ends
    assert done == await conn.fetchval("SELECT count(*) + count(DISTINCT (subject_type, subject_id)) FROM audit_log")
    assert await faults(conn) == []
