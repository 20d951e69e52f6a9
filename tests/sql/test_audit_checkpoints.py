"""audit_mark, draft_audit_checkpoint, put_audit_checkpoint: where all chains were, over all that is certain."""

import json

import asyncpg
import pytest

from tests.audit.support import Fault, checkpoint, faults, live
from tests.audit.tampering import undone
from tests.conftest import Connect
from tests.factories import Factory
from tests.sql.support import call_row, call_value, cancel, one, refused


async def test_a_checkpoint_covers_all_there_is_and_the_next_one_what_came_after(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await live(conn)
    first = await checkpoint(conn)
    booking_id = await make.booking()
    second = await checkpoint(conn)

    assert (first["number"], first["previous"]) == (1, None)
    assert (second["number"], second["previous"]) == (2, first["digest"])
    assert second["up_to"] == await conn.fetchval("SELECT max(id) FROM audit_log")
    heads = {row["subject_id"] for row in await conn.fetch("SELECT * FROM audit_heads WHERE checkpoint = 2")}
    assert str(booking_id) in heads
    assert len(heads) < await conn.fetchval("SELECT count(*) FROM audit_heads WHERE checkpoint = 1")
    assert await faults(conn) == []


async def test_no_checkpoint_is_drafted_while_a_row_may_still_come_below_it(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slow = await connect()
    slot_id = await make.slot(max_bookings=2)
    async with slow.transaction():
        # has drawn its id, and commits last
        await Factory(slow).booking(slot_id, p_customer='{"ref": "slow"}')
        mark = await call_row(conn, "audit_mark")
        draft = {"p_up_to": mark["up_to"], "p_before": mark["before"]}
        assert await call_value(conn, "draft_audit_checkpoint", **draft) is None

    stated = await checkpoint(conn)

    assert stated["up_to"] >= mark["up_to"]
    assert await faults(conn) == []


async def test_no_checkpoint_is_drafted_over_rows_that_are_not_chained(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()
    await conn.execute("SET session_replication_role = replica")
    await conn.execute("UPDATE audit_log SET position = NULL, prev_hash = NULL, hash = NULL")
    mark = await call_row(conn, "audit_mark")

    draft = await call_value(conn, "draft_audit_checkpoint", p_up_to=mark["up_to"], p_before=3)

    assert draft is None


async def test_of_two_makers_one_is_told_that_another_came_first(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()
    await checkpoint(conn)
    statement = await conn.fetchval("SELECT statement FROM audit_checkpoints")

    assert await call_value(conn, "put_audit_checkpoint", p_statement=statement, p_signature=None) is False


async def test_what_a_draft_states_has_to_be_so_still(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()
    up_to = await conn.fetchval("SELECT max(id) FROM audit_log")
    stated = json.dumps({"number": 1, "up_to": up_to, "previous": None, "digest": "0" * 64})

    assert await call_value(conn, "put_audit_checkpoint", p_statement=stated, p_signature=None) is False
    assert await conn.fetchval("SELECT count(*) FROM audit_heads") == 0


@pytest.mark.parametrize("table", ["audit_checkpoints", "audit_heads"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE", "UPDATE {} SET {}"])
async def test_checkpoints_stay_as_they_were_made(
    make: Factory, conn: asyncpg.Connection, table: str, statement: str
) -> None:
    await make.booking()
    await checkpoint(conn)
    change = "up_to = 0" if table == "audit_checkpoints" else "position = 0"

    with refused("SB012", "change_refused"):
        await conn.execute(statement.format(table, change))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE audit_checkpoints SET digest = 'x' WHERE number = 1", "changed"),
        ("UPDATE audit_checkpoints SET statement = replace(statement, 'number', 'n') WHERE number = 1", "changed"),
        ("UPDATE audit_heads SET hash = 'x' WHERE checkpoint = 1", "changed"),
        ("DELETE FROM audit_heads WHERE checkpoint = 1 AND subject_type = 'slot'", "changed"),
        ("DELETE FROM audit_checkpoints WHERE number = 1", "missing"),
    ],
)
async def test_a_change_of_a_checkpoint_is_found(conn: asyncpg.Connection, change: str, fault: str) -> None:
    await live(conn)
    await checkpoint(conn)
    await Factory(conn).booking()
    await checkpoint(conn)

    async with undone(conn):
        await conn.execute(change)
        found = await faults(conn)

    assert Fault("checkpoint", "1", None, fault) in found


async def test_newest_audit_checkpoint_says_when_and_whether_it_is_signed(
    make: Factory, conn: asyncpg.Connection
) -> None:
    assert await one(conn, "SELECT * FROM newest_audit_checkpoint()") == (None, None)
    await make.booking()
    await checkpoint(conn)
    await checkpoint(conn, b"signature")

    made_at, is_signed = await one(conn, "SELECT * FROM newest_audit_checkpoint()")

    assert (made_at, is_signed) == (await conn.fetchval("SELECT max(created_at) FROM audit_checkpoints"), True)


async def test_after_the_newest_checkpoint_whoever_computes_hashes_can_cut_the_end_off_with_its_subject(
    make: Factory, conn: asyncpg.Connection
) -> None:
    """What no chain can find: it is why checkpoints are made often, and kept elsewhere."""
    booking_id = await make.booking()
    async with undone(conn):
        for table in ("audit_log", "audit_chains"):
            await conn.execute(f"DELETE FROM {table} WHERE subject_id = $1", str(booking_id))
        await conn.execute("DELETE FROM bookings WHERE id = $1", booking_id)
        assert await faults(conn) == []

    await checkpoint(conn)

    async with undone(conn):
        for table in ("audit_log", "audit_chains"):
            await conn.execute(f"DELETE FROM {table} WHERE subject_id = $1", str(booking_id))
        await conn.execute("DELETE FROM bookings WHERE id = $1", booking_id)
        assert await faults(conn) == [Fault("booking", str(booking_id), None, "missing")]


async def test_a_subject_changed_around_its_trigger_is_found(make: Factory, conn: asyncpg.Connection) -> None:
    """audit_subject_faults: the row and its last_audit_entries disagree."""
    booking_id = await make.booking()
    await cancel(conn, booking_id)
    last = await conn.fetchval("SELECT max(id) FROM audit_log WHERE subject_id = $1", str(booking_id))

    async with undone(conn):
        await conn.execute("UPDATE bookings SET status = 'completed'")
        found = await faults(conn)

    assert found == [Fault("booking", str(booking_id), last, "differs")]


FUNCTIONS = (
    "audit_chain_faults",
    "audit_subject_faults",
    "last_audit_entries",
    "audit_checkpoint_faults",
    "verify_audit_log",
    "audit_digest",
    "new_audit_heads",
)


async def test_verifying_writes_nothing(conn: asyncpg.Connection) -> None:
    kinds = await conn.fetch("SELECT DISTINCT provolatile FROM pg_proc WHERE proname = ANY ($1)", FUNCTIONS)

    assert [bytes(row["provolatile"]) for row in kinds] == [b"s"]
