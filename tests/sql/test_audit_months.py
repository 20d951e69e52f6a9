"""The audit trail is kept by months: made ahead, dropped on record, and whoever verifies knows the difference.

make_audit_partitions and add_audit_partition, audit_partitions; drop_audit_month with note_dropped_audit_rows,
dropped_audit_digest and last_audit_drop; audit_drop_faults, audit_end_faults, audit_chain_end,
audit_entries_under_hold.
"""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from app.database import Database
from app.jobs.housekeeping import Retention, keep_house
from app.security import Actor
from tests.audit.support import Fault, checkpoint, faults, live
from tests.audit.tampering import undone
from tests.concurrency.rivals import until_waiting
from tests.conftest import Connect
from tests.factories import SYSTEM, Factory
from tests.sql.support import call_value, cancel, refused

PARTITIONS = "SELECT relid::regclass::text FROM pg_partition_tree('audit_log') WHERE isleaf ORDER BY 1"
# what each has of its own, without the names
ON_IT = """
    SELECT array_agg(what ORDER BY what) FROM (
      SELECT regexp_replace(indexdef, 'INDEX \\w+ ON \\S+', '') AS what FROM pg_indexes WHERE tablename = $1
      UNION ALL
      SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'c'
      UNION ALL
      SELECT tgname || tgtype FROM pg_trigger WHERE tgrelid = $1::regclass
      UNION ALL
      SELECT concat_ws(' ', attname, format_type(atttypid, -1), attnotnull, pg_get_expr(adbin, adrelid))
      FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
      WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
    ) w
"""
BY_HAND = """
    INSERT INTO audit_log (subject_type, subject_id, event, action_type, new_values, performed_by, performed_by_id,
      created_at)
    VALUES ('booking', $1, 'booking.modified', 'created', '{}', 'admin', 'x', $2)
"""
FORGED = """
    INSERT INTO audit_log (subject_type, subject_id, event, action_type, old_values, new_values, performed_by,
      performed_by_id)
    SELECT 'audit_log', 'dropped', 'audit_log.dropped', 'dropped', '{}', jsonb_build_object(
      'number', 1, 'entries', 1, 'before', '2020-01-01T00:00:00Z', 'digest', dropped_audit_digest(1)
    ), 'system', 'x'
"""
# after the months that a new database has
FIRST = datetime(2041, 3, 15, tzinfo=UTC)
MUCH_LATER = datetime(2042, 3, 1, tzinfo=UTC)


async def partitions(conn: asyncpg.Connection) -> list[str]:
    return [row[0] for row in await conn.fetch(PARTITIONS)]


async def drop(conn: asyncpg.Connection, now: datetime = MUCH_LATER, limit: int = 500, **more: Any) -> int:
    """One turn of retention, a year's months kept."""
    arguments = {"p_actor": SYSTEM, "p_limit": limit, "p_keep_months": 6, "p_now": now} | more
    return int(await call_value(conn, "drop_audit_month", **arguments))


async def age(conn: asyncpg.Connection, when: datetime = FIRST) -> None:
    """All rows were written then, as their hashes say too."""
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute("UPDATE audit_log SET created_at = $1", when)
        await conn.execute("DELETE FROM audit_chains")
        await conn.execute("UPDATE audit_log SET position = NULL, prev_hash = NULL, hash = NULL, address_salt = NULL")
    while await call_value(conn, "backfill_audit_chain", p_limit=1000):
        pass


async def an_old_trail(conn: asyncpg.Connection) -> None:
    """All of it in a month of its own."""
    await call_value(conn, "make_audit_partitions", p_now=FIRST)
    await live(conn)
    await age(conn)


async def test_a_new_database_has_this_month_and_the_three_after_it(conn: asyncpg.Connection) -> None:
    assert await call_value(conn, "make_audit_partitions") == 0
    ends = await conn.fetchval("SELECT max(ends_at) FROM audit_partitions()")

    this = "date_trunc('month', now() AT TIME ZONE 'UTC')"
    assert ends > await conn.fetchval(f"SELECT ({this} + interval '3 months') AT TIME ZONE 'UTC'")


async def test_months_are_made_ahead_once_each_like_all_others(conn: asyncpg.Connection) -> None:
    before = await partitions(conn)

    assert await call_value(conn, "make_audit_partitions", p_now=FIRST) == 4
    assert await call_value(conn, "make_audit_partitions", p_now=FIRST) == 0

    made = set(await partitions(conn)) - set(before)
    assert made == {f"audit_log_2041_{month:02}" for month in (3, 4, 5, 6)}
    shapes = [await conn.fetchval(ON_IT, name) for name in await partitions(conn)]
    assert len(shapes[0]) > 30
    assert [shape for shape in shapes if shape != shapes[0]] == []


async def test_who_books_meanwhile_does_not_wait_for_a_month_to_be_made(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, writer = await make.slot(max_bookings=2), await connect()
    async with writer.transaction():
        await Factory(writer).booking(slot_id)

        assert await call_value(conn, "make_audit_partitions", p_now=FIRST) == 4


async def test_nobody_came_for_a_year_and_nothing_is_lost(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    await age(conn)
    assert await conn.fetchval("SELECT count(*) FROM audit_log_default") > 0

    assert await call_value(conn, "make_audit_partitions", p_now=MUCH_LATER) == 4

    assert await conn.fetchval("SELECT count(*) FROM audit_log_default") == 0
    assert await conn.fetchval("SELECT count(*) FROM audit_log_before_2042_04") > 0
    await cancel(conn, booking_id)
    assert await faults(conn) == []


async def test_a_month_goes_on_record_and_chains_go_on(conn: asyncpg.Connection, make: Factory) -> None:
    booking_id = await make.booking()
    await an_old_trail(conn)
    await checkpoint(conn)
    entries = await conn.fetchval("SELECT count(*) FROM audit_log")

    noted = await drop(conn)

    assert noted == await conn.fetchval("SELECT count(*) FROM audit_dropped") > 10
    assert "audit_log_2041_03" not in await partitions(conn)
    (entry,) = await conn.fetch("SELECT *, new_values ->> 'entries' AS entries FROM audit_log")
    assert (entry["event"], entry["performed_by"], entry["entries"]) == ("audit_log.dropped", "system", str(entries))
    assert await faults(conn) == []
    await cancel(conn, booking_id)
    assert await conn.fetchval("SELECT position FROM audit_log WHERE subject_id = $1", str(booking_id)) == 2
    await checkpoint(conn)
    assert await faults(conn) == []


async def test_what_is_noted_first_is_noted_in_batches(conn: asyncpg.Connection) -> None:
    await an_old_trail(conn)
    subjects = await conn.fetchval("SELECT count(DISTINCT (subject_type, subject_id)) FROM audit_log")

    turns = [await drop(conn, limit=10) for _ in range(subjects // 10)]

    assert turns == [10] * len(turns)
    assert "audit_log_2041_03" in await partitions(conn)
    assert await faults(conn) == []
    assert await drop(conn, limit=10) == subjects % 10
    assert "audit_log_2041_03" not in await partitions(conn)
    assert await faults(conn) == []


async def test_months_go_one_after_the_other_and_each_is_vouched_for(conn: asyncpg.Connection) -> None:
    await an_old_trail(conn)
    for month in (3, 4, 4, 5):
        await conn.execute(BY_HAND.replace("'booking',", "'note',"), "x", datetime(2041, month, 20, tzinfo=UTC))

    assert await drop(conn) > 10
    assert await drop(conn) == 1

    last = json.loads(await call_value(conn, "last_audit_drop"))
    runs = await conn.fetch("SELECT number, first_position, last_position FROM audit_dropped WHERE subject_id = 'x'")
    assert (last["number"], last["before"][:10]) == (2, "2041-05-01")
    assert [tuple(run) for run in runs] == [(1, 1, 1), (2, 2, 3)]
    assert last["digest"] == await call_value(conn, "dropped_audit_digest", p_number=2)
    assert await faults(conn) == []


async def test_what_is_kept_is_what_the_setting_says(conn: asyncpg.Connection) -> None:
    await an_old_trail(conn)

    await drop(conn, datetime(2041, 9, 30, tzinfo=UTC))
    assert "audit_log_2041_03" in await partitions(conn)
    await drop(conn, datetime(2041, 10, 1, tzinfo=UTC))
    assert "audit_log_2041_03" not in await partitions(conn)


async def test_a_month_with_rows_under_a_legal_hold_stays(conn: asyncpg.Connection, make: Factory) -> None:
    await make.booking(p_customer='{"ref": "held"}')
    await conn.execute("UPDATE customers SET legal_hold_since = now(), legal_hold_reason = 'case 7' WHERE ref = 'held'")
    await an_old_trail(conn)
    assert await conn.fetchval("SELECT count(*) FROM audit_entries_under_hold('-infinity', 'infinity')") >= 2

    await drop(conn)
    assert "audit_log_2041_03" in await partitions(conn)

    await conn.execute("UPDATE customers SET legal_hold_since = NULL, legal_hold_reason = NULL")
    await drop(conn)
    assert "audit_log_2041_03" not in await partitions(conn)


async def test_a_month_waits_for_whoever_reads_the_trail_and_nobody_for_it(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    await an_old_trail(conn)
    reader = await connect()
    async with reader.transaction():
        await reader.fetch("SELECT * FROM audit_log")
        assert await drop(conn) == 0

    assert await drop(conn) > 0


TAMPERED = {
    "a month dropped by hand": ("DROP TABLE audit_log_2041_03", "missing"),
    "more rows than are on record": ("DELETE FROM audit_log WHERE subject_type = 'resource'", "missing"),
    "another hash in the record": (
        "UPDATE audit_dropped SET hash = sha256(hash) WHERE subject_type = 'slot'",
        "changed",
    ),
    "less of a record": ("DELETE FROM audit_dropped WHERE subject_type = 'slot'", "changed"),
    "more of a record": (
        "INSERT INTO audit_dropped SELECT number, subject_type, 'x', 1, NULL, 1, hash FROM audit_dropped LIMIT 1",
        "changed",
    ),
    "a forged entry": (
        "UPDATE audit_log SET new_values = new_values || '{\"digest\": \"0\"}' WHERE event = 'audit_log.dropped'",
        "changed",
    ),
    "no entry": ("DELETE FROM audit_log WHERE event = 'audit_log.dropped'", "missing"),
    "no ends of chains": ("DELETE FROM audit_chains WHERE subject_type = 'booking'", "missing"),
    "another end of a chain": (
        "UPDATE audit_chains SET hash = sha256(hash) WHERE subject_type = 'booking'",
        "replaced",
    ),
    "a chain that ends before its end": ("UPDATE audit_chains SET position = 0", "inserted"),
}


@pytest.mark.parametrize("case", TAMPERED)
async def test_whoever_drops_more_than_is_on_record_is_found(
    conn: asyncpg.Connection, make: Factory, case: str
) -> None:
    change, fault = TAMPERED[case]
    await an_old_trail(conn)
    if "by hand" not in case:
        await drop(conn)
    await make.booking()
    await make.resource("Another")
    await checkpoint(conn)
    assert await faults(conn) == []

    async with undone(conn):
        await conn.execute(change)
        found = await faults(conn)

    assert fault in {f.fault for f in found}


async def test_a_record_forged_after_a_checkpoint_covers_nothing_that_is_younger(
    conn: asyncpg.Connection, make: Factory
) -> None:
    """Somebody who computes hashes drops rows, and says that they went with a month."""
    await an_old_trail(conn)
    await checkpoint(conn)
    await make.booking()
    await checkpoint(conn)
    booking = await conn.fetchrow("SELECT * FROM audit_log WHERE event = 'booking.created' ORDER BY id DESC LIMIT 1")
    assert booking is not None

    async with undone(conn):
        await conn.execute(
            """INSERT INTO audit_dropped SELECT 1, subject_type, subject_id, 1, NULL, 1, hash
            FROM audit_log WHERE id = $1""",
            booking["id"],
        )
        await conn.execute("DELETE FROM audit_log WHERE id = $1", booking["id"])
        await conn.execute("SET LOCAL session_replication_role = origin")
        await conn.execute(FORGED)
        found = await faults(conn)

    assert Fault("booking", booking["subject_id"], None, "missing") in found


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET reason = 'x'"])
async def test_a_partition_is_append_only_by_its_own_name_too(
    conn: asyncpg.Connection, make: Factory, statement: str
) -> None:
    await make.booking()
    (name,) = [row[0] for row in await conn.fetch("SELECT DISTINCT tableoid::regclass::text FROM audit_log")]

    with refused("SB012", "change_refused"):
        await conn.execute(statement.format(name))


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET hash = ''"])
async def test_what_is_noted_of_dropped_months_stays(conn: asyncpg.Connection, statement: str) -> None:
    with refused("SB012", "change_refused"):
        await conn.execute(statement.format("audit_dropped"))


async def test_two_who_write_a_subject_by_hand_at_once_are_one_chain(
    conn: asyncpg.Connection, connect: Connect, make: Factory
) -> None:
    """No index spans the months: the end of the chain lets one in."""
    booking_id, rival = str(await make.booking()), await connect()

    async with conn.transaction():
        await conn.execute(BY_HAND, booking_id, FIRST)
        second = asyncio.ensure_future(rival.execute(BY_HAND, booking_id, MUCH_LATER))
        await until_waiting(await connect(), 1)
    await second

    rows = await conn.fetch(
        "SELECT position, prev_hash, hash FROM audit_log WHERE subject_id = $1 ORDER BY 1", booking_id
    )
    assert [row["position"] for row in rows] == [1, 2, 3]
    assert [row["prev_hash"] for row in rows[1:]] == [row["hash"] for row in rows[:-1]]


async def test_audit_chain_end_finds_the_ends_that_are_not_noted_yet(conn: asyncpg.Connection, make: Factory) -> None:
    booking_id = str(await make.booking())
    await conn.execute("DELETE FROM audit_chains")
    await conn.execute("INSERT INTO audit_backfill VALUES ('', '')")

    end = "SELECT last_position FROM audit_chain_end('booking', $1)"

    assert await conn.fetchval(end, booking_id) == 1
    assert await conn.fetchval(end, "x") == 0
    while await call_value(conn, "backfill_audit_chain", p_limit=1):
        pass
    assert await conn.fetchval("SELECT count(*) FROM audit_backfill") == 0
    assert await faults(conn) == []


async def test_housekeeping_forgets_what_the_settings_say_and_drops_no_month_that_is_not_over(
    database: Database, conn: asyncpg.Connection, make: Factory
) -> None:
    await make.booking()
    await age(conn, datetime(2020, 3, 1, tzinfo=UTC))
    await make.booking()
    keep = Retention(audit_months=12, addresses=timedelta(0))
    await call_value(conn, "make_audit_partitions", p_now=FIRST)
    kept = await conn.fetchval("SELECT count(*) FROM audit_log WHERE address_salt IS NOT NULL")

    await keep_house(database, Actor("system", "test"), keep, Counter(), lambda: False)

    assert kept > 0
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE address_salt IS NOT NULL") == 0
    # what is old shares a partition with what is not
    assert await conn.fetchval("SELECT count(*) FROM audit_dropped") == 0
    assert await faults(conn) == []
