"""write_audit_log: every change is on record, with who did it, in the transaction that did it."""

import json
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.factories import ACTOR, Factory, insert_booking, make_customer
from tests.sql.support import call, cancel, one, refused

WHO = "performed_by, performed_by_id, host(ip_address), user_agent, request_id, reason"


async def entries(conn: asyncpg.Connection, event: str) -> list[dict[str, Any]]:
    """The trail's rows of that event, their states read."""
    rows = [dict(row) for row in await conn.fetch("SELECT * FROM audit_log WHERE event = $1 ORDER BY id", event)]
    for row in rows:
        for state in ("old_values", "new_values"):
            row[state] = json.loads(row[state]) if row[state] else None
    return rows


async def test_a_change_is_recorded_with_its_state_before_and_after(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    await cancel(conn, booking_id)

    (created,), (cancelled,) = await entries(conn, "booking.created"), await entries(conn, "booking.cancelled")

    assert (created["old_values"], created["new_values"]["status"]) == (None, "confirmed")
    assert cancelled["old_values"] == created["new_values"]
    assert (cancelled["new_values"]["status"], cancelled["new_values"]["version"]) == ("cancelled", 2)
    assert (cancelled["subject_type"], cancelled["subject_id"]) == ("booking", str(booking_id))


async def test_the_trail_names_the_actor_where_from_and_why(make: Factory, conn: asyncpg.Connection) -> None:
    await cancel(conn, await make.booking(), p_reason="rain")

    who = await one(conn, f"SELECT {WHO} FROM audit_log WHERE event = 'booking.cancelled'")

    assert who == ("admin", "tester", "192.0.2.1", "pytest", "r-1", "rain")


async def test_a_raw_write_is_recorded_as_the_database_users_own(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()

    await conn.execute("UPDATE bookings SET status = 'no_show'")

    who = await one(conn, f"SELECT {WHO} FROM audit_log WHERE event = 'booking.no_show'")
    user = await conn.fetchval("SELECT session_user::text")
    assert who == ("database", user, None, None, None, None)


async def test_an_actor_does_not_outlive_its_transaction(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, customer_id = await make.slot(max_bookings=2), await make_customer(conn)
    await make.booking(slot_id)

    await insert_booking(conn, slot_id, customer_id)

    assert [e["performed_by"] for e in await entries(conn, "booking.created")] == ["admin", "database"]


async def test_a_role_that_was_taken_on_is_recorded_by_the_login_behind_it(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await make.booking()
    clerk = f"clerk_{uuid4().hex}"
    await conn.execute(f"CREATE ROLE {clerk}")
    try:
        await conn.execute(f"GRANT ALL ON SCHEMA holdfast TO {clerk}")
        await conn.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA holdfast TO {clerk}")
        await conn.execute(f"SET ROLE {clerk}")
        await conn.execute("UPDATE bookings SET metadata = '{\"seat\": 4}'")
    finally:
        await conn.execute("RESET ROLE")
        await conn.execute(f"DROP OWNED BY {clerk}")
        await conn.execute(f"DROP ROLE {clerk}")

    (entry,) = await entries(conn, "booking.modified")
    assert entry["performed_by_id"] == await conn.fetchval("SELECT session_user::text")


async def test_the_customers_personal_data_stays_out_and_the_changed_fields_are_named(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(max_bookings=2)
    ann = {"ref": "ann", "name": "Ann Example", "email": "ann@example.com", "phone": "+30 210 1234567"}
    await make.booking(slot_id, p_customer=json.dumps(ann))
    await make.booking(slot_id, p_customer=json.dumps(ann | {"phone": "+30 210 7654321"}))

    trail = await conn.fetchval("SELECT string_agg(a::text, '') FROM audit_log a")
    (created,), (modified,) = await entries(conn, "customer.created"), await entries(conn, "customer.modified")

    assert not [secret for secret in ("Ann Example", "ann@example", "1234567", "7654321") if secret in trail]
    assert created["hidden_changes"] == ["name", "email", "phone"]
    assert modified["hidden_changes"] == ["phone"]
    assert modified["new_values"]["ref"] == "ann"


async def test_a_keys_hash_stays_out(conn: asyncpg.Connection) -> None:
    await call(
        conn,
        "create_api_key",
        p_actor=ACTOR,
        p_name="shop",
        p_prefix="hf_abc",
        p_key_hash=b"\xde\xad\xbe\xef",
        p_scopes=["admin"],
    )

    (entry,) = await entries(conn, "api_key.created")

    assert (entry["new_values"]["prefix"], entry["hidden_changes"]) == ("hf_abc", ["key_hash"])
    assert "deadbeef" not in await conn.fetchval("SELECT string_agg(a::text, '') FROM audit_log a")


async def test_slots_are_on_record_but_not_their_counters(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=2)
    await make.booking(slot_id)

    await conn.execute("UPDATE slots SET max_bookings = 5")
    await conn.execute("DELETE FROM slots WHERE booked_bookings = 0")

    (modified,) = await entries(conn, "slot.modified")
    assert (modified["old_values"]["max_bookings"], modified["new_values"]["max_bookings"]) == (2, 5)


async def test_a_deleted_row_is_on_record_as_it_was(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot()

    await conn.execute("DELETE FROM slots")

    (deleted,) = await entries(conn, "slot.deleted")
    assert (deleted["subject_id"], deleted["new_values"]) == (str(slot_id), None)


async def test_many_rows_in_one_statement_are_many_entries(make: Factory, conn: asyncpg.Connection) -> None:
    bookings = {await make.booking() for _ in range(3)}

    await conn.execute("UPDATE bookings SET status = 'no_show'")

    assert {e["subject_id"] for e in await entries(conn, "booking.no_show")} == {str(b) for b in bookings}


async def test_what_is_rolled_back_was_never_on_record(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    undo = conn.transaction()
    await undo.start()
    await cancel(conn, booking_id)
    await undo.rollback()

    assert await entries(conn, "booking.cancelled") == []


@pytest.mark.parametrize(
    ("actor", "sqlstate"),
    [('{"type": "god", "id": "x"}', "SB012"), ('{"type": "admin", "id": "x", "ip": "nowhere"}', "22P02")],
)
async def test_an_actor_the_trail_cannot_hold_cannot_write(
    make: Factory, conn: asyncpg.Connection, actor: str, sqlstate: str
) -> None:
    slot_id = await make.slot()

    with refused(sqlstate, "change_refused"):
        await make.booking(slot_id, p_actor=actor)

    assert await conn.fetchval("SELECT count(*) FROM bookings") == 0
