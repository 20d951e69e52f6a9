"""Privacy: all that is held on a customer, or none of it any more.

erase_customer looks by require_erasable, works by erase_customer_rows and redact_audit_log, and
lock_customer finds whom; customer_audit_entries are the rows of the trail that are the customer's own.
"""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.audit.support import checkpoint, faults, live
from tests.audit.tampering import undone
from tests.concurrency.rivals import until_waiting
from tests.conftest import Connect
from tests.credentials.support import put_provider, store
from tests.factories import ACTOR, TOMORROW, Factory, insert_booking
from tests.sql.auto_syncs import make_crew, start
from tests.sql.support import TICK, call, call_json, call_row, call_value, cancel, one, refused, violates

ANN = json.dumps({"ref": "ann", "name": "Ann Example", "email": "ann@example.com", "phone": "+302101234567"})
EMPTY = dict.fromkeys(("ip_address", "user_agent", "request_id", "reason", "address_salt"))


async def erase(conn: asyncpg.Connection, ref: str = "ann", **overrides: Any) -> dict[str, Any]:
    """What erase_customer answers."""
    arguments = {"p_actor": ACTOR, "p_customer_ref": ref, "p_reason": "asked for it"} | overrides
    body: dict[str, Any] = json.loads((await call_row(conn, "erase_customer", **arguments))["body"])
    return body


async def a_past(conn: asyncpg.Connection, make: Factory, customer: str = ANN) -> str:
    """A booking of Ann's that she cancelled, and its id."""
    booking_id = await make.booking(p_customer=customer, p_metadata='{"note": "Ann"}')
    await cancel(conn, booking_id, p_reason="Ann is ill")
    return str(booking_id)


async def test_erase_customer_rows_leaves_what_happened_and_not_to_whom(
    make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = await a_past(conn, make)

    erased = await erase(conn)

    customer = await one(conn, "SELECT id, ref, name, email, phone, erased_at IS NOT NULL FROM customers")
    assert tuple(map(str, customer)) == (erased["customer_id"], "None", "None", "None", "None", "True")
    booking = await one(conn, "SELECT id, status, metadata, customer_id FROM bookings")
    assert tuple(map(str, booking)) == (booking_id, "cancelled", "{}", erased["customer_id"])


async def test_redact_audit_log_empties_a_customers_rows_and_says_which(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await a_past(conn, make)
    others = await make.booking(p_customer='{"ref": "bob"}', p_metadata='{"note": "Bob"}')

    erased = await erase(conn)

    trail = await conn.fetchval("SELECT string_agg(a::text, '') FROM audit_log a WHERE subject_id <> $1", str(others))
    assert [word for word in ("Ann", "ann@", '"ann"', "ill") if word in trail] == []
    (entry,) = await conn.fetch("SELECT * FROM audit_log WHERE event = 'customer.erased'")
    assert (entry["performed_by"], entry["performed_by_id"], entry["reason"]) == ("admin", "tester", "asked for it")
    emptied = json.loads(entry["new_values"])["emptied"]
    assert len(emptied) == erased["audit_entries_emptied"] > 0
    assert "Bob" in await conn.fetchval("SELECT new_values::text FROM audit_log WHERE subject_id = $1", str(others))


async def test_the_trail_verifies_after_erasures_whether_a_checkpoint_came_before_or_after(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await live(conn)
    for _ in range(2):
        await a_past(conn, make, '{"ref": "zoe", "name": "Zoe"}')
        await checkpoint(conn)
        await erase(conn, "zoe")
        assert await faults(conn) == []
        await checkpoint(conn)
        assert await faults(conn) == []


async def test_redact_audit_log_leaves_a_request_of_the_same_name_at_another_time(
    make: Factory, conn: asyncpg.Connection
) -> None:
    """A caller may name all its requests alike."""
    yesterday, today = [str(await make.booking(p_customer='{"ref": "bob"}')) for _ in range(2)]
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute(
            "UPDATE audit_log SET created_at = created_at - interval '1 day' WHERE subject_id = $1", yesterday
        )
    await a_past(conn, make)

    await erase(conn)

    kept = await conn.fetch(
        "SELECT subject_id FROM audit_log WHERE subject_id IN ($1, $2) AND ip_address IS NOT NULL", yesterday, today
    )
    assert [row["subject_id"] for row in kept] == [yesterday]


@pytest.mark.parametrize(
    "change", ["reason = 'forged'", 'new_values = new_values || \'{"status": "no_show"}\'', "ip_address = '192.0.2.9'"]
)
async def test_a_row_that_was_emptied_cannot_be_changed_unnoticed(
    make: Factory, conn: asyncpg.Connection, change: str
) -> None:
    booking_id = await a_past(conn, make)
    await erase(conn)
    row = await conn.fetchval("SELECT min(id) FROM audit_log WHERE subject_id = $1", booking_id)

    async with undone(conn):
        await conn.execute(f"UPDATE audit_log SET {change} WHERE id = $1", row)
        found = await faults(conn)

    assert row in {fault.audit_id for fault in found}


async def test_a_row_can_only_be_emptied_with_an_entry_that_says_so(make: Factory, conn: asyncpg.Connection) -> None:
    """audit_log_guard_update: the setting names an entry, and permits nothing by itself."""
    await a_past(conn, make)
    empty = "UPDATE audit_log SET ip_address = NULL, user_agent = NULL, request_id = NULL, reason = NULL"
    some = await conn.fetchval("SELECT max(id) FROM audit_log")

    for entry in ("", str(some), "0"):
        async with conn.transaction():
            undo = conn.transaction()
            await undo.start()
            await conn.execute("SELECT set_config('holdfast.erasure', $1, true)", entry)
            with refused("SB012", "change_refused"):
                await conn.execute(empty)
            await undo.rollback()


async def test_with_such_an_entry_a_row_can_still_not_say_something_else(
    make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = await a_past(conn, make)
    await erase(conn)
    entry = await conn.fetchval("SELECT id FROM audit_log WHERE event = 'customer.erased'")

    async with conn.transaction():
        await conn.execute("SELECT set_config('holdfast.erasure', $1, true)", str(entry))
        undo = conn.transaction()
        await undo.start()
        with refused("SB012", "change_refused"):
            await conn.execute("UPDATE audit_log SET event = 'booking.forged' WHERE subject_id = $1", booking_id)
        await undo.rollback()


async def test_erased_audit_entry_and_without_personal_data_change_nothing_the_second_time(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await live(conn)
    await a_past(conn, make)

    twice = """SELECT count(*) FROM audit_log a, erased_audit_entry(a, true) e
        WHERE erased_audit_entry(e, true) IS DISTINCT FROM e
          OR without_personal_data(e.new_values) IS DISTINCT FROM e.new_values"""

    assert await conn.fetchval(twice) == 0
    assert await conn.fetchval("SELECT without_personal_data('{}')") == "{}"


async def test_what_came_of_the_same_transaction_loses_where_from_and_why_alone(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot()
    booking_id = await make.booking(slot_id, p_customer=ANN)
    await conn.execute("UPDATE bookings SET status = 'cancelled' WHERE id = $1", booking_id)
    before = await conn.fetchrow("SELECT * FROM audit_log WHERE event = 'slot.full'")

    await erase(conn)

    after = await conn.fetchrow("SELECT * FROM audit_log WHERE event = 'slot.full'")
    assert before is not None
    assert after is not None
    assert dict(after) == dict(before) | EMPTY
    assert before["user_agent"] is not None


async def test_require_erasable_names_what_is_still_to_happen(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=TOMORROW)
    await make.booking(slot_id, p_customer=ANN)
    await call_row(conn, "join_waitlist", p_actor=ACTOR, p_slot_id=slot_id, p_customer=ANN)

    with refused("SB036", "customer_active") as refusal:
        await erase(conn)

    counts = {"bookings": 1, "prebookings": 0, "waitlist_entries": 1, "auto_syncs": 0, "messages": 0}
    assert refusal.detail == counts
    assert await conn.fetchval("SELECT count(*) FROM customers WHERE ref = 'ann'") == 1


async def test_a_booking_that_is_over_does_not_wait_for_its_completion(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=TOMORROW)
    await make.booking(slot_id, p_customer=ANN)
    ends_at = await conn.fetchval("SELECT ends_at FROM slots")

    with refused("SB036", "customer_active"):
        await erase(conn, p_now=ends_at - TICK)
    await erase(conn, p_now=ends_at)


async def test_put_legal_hold_forbids_erasing_until_delete_legal_hold(make: Factory, conn: asyncpg.Connection) -> None:
    await a_past(conn, make)
    hold = {"p_actor": ACTOR, "p_customer_ref": "ann", "p_reason": "case 7"}
    first = await call_json(conn, "put_legal_hold", **hold)
    again = await call_json(conn, "put_legal_hold", **hold | {"p_reason": "case 8"})

    with refused("SB035", "legal_hold") as refusal:
        await erase(conn)
    assert (again["since"], again["reason"]) == (first["since"], "case 8")
    assert refusal.detail == {"since": first["since"]}

    for _ in range(2):
        await call(conn, "delete_legal_hold", p_actor=ACTOR, p_customer_ref="ann")
    await erase(conn)
    assert await faults(conn) == []


async def test_around_the_api_a_hold_stands_and_an_erased_customer_stays_nobody(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await a_past(conn, make)
    await conn.execute("UPDATE customers SET legal_hold_since = now(), legal_hold_reason = 'case 7'")
    with violates("customers_erased_check"):
        await conn.execute(
            "UPDATE customers SET ref = NULL, name = NULL, email = NULL, phone = NULL, erased_at = now()"
        )
    with violates("customers_legal_hold_check"):
        await conn.execute("UPDATE customers SET legal_hold_reason = NULL")
    await conn.execute("UPDATE customers SET legal_hold_since = NULL, legal_hold_reason = NULL")
    await erase(conn)

    with violates("customers_erased_check"):
        await conn.execute("UPDATE customers SET name = 'Ann'")


@pytest.mark.parametrize("function", ["erase_customer", "export_customer", "put_legal_hold", "delete_legal_hold"])
async def test_lock_customer_knows_nobody_of_that_ref(conn: asyncpg.Connection, function: str) -> None:
    given = {"p_actor": ACTOR, "p_customer_ref": "nobody", "p_reason": "x"}
    takes = await conn.fetchval("SELECT proargnames FROM pg_proc WHERE proname = $1", function)

    with refused("SB037", "customer_not_found"):
        await call(conn, function, **{name: value for name, value in given.items() if name in takes})


async def test_a_repeat_under_the_same_key_answers_the_same(make: Factory, conn: asyncpg.Connection) -> None:
    await a_past(conn, make)
    key: dict[str, Any] = {"p_idempotency_key": "k", "p_request_hash": b"hash"}

    first = await erase(conn, **key)

    assert await erase(conn, **key) == first
    with refused("SB037", "customer_not_found"):
        await erase(conn)


async def test_who_books_with_that_ref_afterwards_is_a_new_customer(make: Factory, conn: asyncpg.Connection) -> None:
    await a_past(conn, make)
    erased = await erase(conn)

    booking_id = await make.booking(p_customer=ANN)

    customer_id = await conn.fetchval("SELECT customer_id FROM bookings WHERE id = $1", booking_id)
    assert str(customer_id) != erased["customer_id"]


async def test_a_booking_under_way_is_seen_by_the_erasure_that_waits_for_it(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    await a_past(conn, make)
    slot_id, rival = await make.slot(), await connect()

    async with conn.transaction():
        await make.booking(slot_id, p_customer=ANN)
        erasing = asyncio.ensure_future(erase(rival))
        await until_waiting(await connect(), 1)
    with refused("SB036", "customer_active"):
        await erasing


async def test_a_booking_that_waits_for_an_erasure_is_a_new_customers(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    await a_past(conn, make)
    slot_id, rival = await make.slot(), Factory(await connect())

    async with conn.transaction():
        erased = await erase(conn)
        booking = asyncio.ensure_future(rival.booking(slot_id, p_customer=ANN))
        await until_waiting(await connect(), 1)
    booking_id = await booking

    customer_id = await conn.fetchval("SELECT customer_id FROM bookings WHERE id = $1", booking_id)
    assert str(customer_id) != erased["customer_id"]
    assert await faults(conn) == []


async def test_export_customer_holds_everything_and_no_secret(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await a_past(conn, make)
    await put_provider(conn)
    credentials_id = await store(conn)
    feed = await call_json(conn, "create_calendar_feed", p_actor=ACTOR, p_customer_ref="ann", p_token_hash=bytes(32))
    customer_id = await conn.fetchval("SELECT id FROM customers WHERE ref = 'ann'")
    bare = await insert_booking(conn, await make.slot(), customer_id)

    document = await call_json(conn, "export_customer", p_customer_ref="ann")

    assert document["customer"]["name"] == "Ann Example"
    assert {booking["id"] for booking in document["bookings"]} == {booking_id, str(bare)}
    assert [c["provider"] for c in document["credentials"]] == ["gametime"]
    assert [f["id"] for f in document["calendar_feeds"]] == [feed["id"]]
    subjects = {entry["subject_id"] for entry in document["audit_entries"]}
    assert subjects == {booking_id, str(bare), str(customer_id), str(credentials_id), feed["id"]}
    own = await call(conn, "customer_subjects", p_customer_id=customer_id)
    assert subjects == {row["subject_id"] for row in own}
    told = json.dumps({k: v for k, v in document.items() if k != "audit_entries"})
    assert [secret for secret in ("ciphertext", "token_hash") if secret in told] == []


async def test_prune_messages_forgets_what_is_old_and_over_but_not_under_a_legal_hold(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await conn.execute("INSERT INTO message_channels (name, is_enabled) VALUES ('email', true)")
    for ref in ("ann", "bob"):
        await make.booking(p_customer=json.dumps({"ref": ref, "email": f"{ref}@example.com"}))
    await call_json(conn, "put_legal_hold", p_actor=ACTOR, p_customer_ref="bob", p_reason="case 7")
    made_at = await conn.fetchval("SELECT max(created_at) FROM messages")
    keep = timedelta(days=10)
    old = {"p_limit": 10, "p_keep": keep, "p_now": made_at + keep + TICK}

    assert await call_value(conn, "prune_messages", **old) == 0
    await conn.execute("UPDATE messages SET status = 'skipped', reason = 'too_late'")
    assert await call_value(conn, "prune_messages", **old | {"p_now": made_at}) == 0
    assert await call_value(conn, "prune_messages", **old) == 1

    left = "SELECT c.ref FROM messages m JOIN customers c ON c.id = m.customer_id"
    assert [row["ref"] for row in await conn.fetch(left)] == ["bob"]


async def test_who_is_still_asked_by_an_auto_sync_is_not_erased_and_then_leaves_the_crew(
    conn: asyncpg.Connection,
) -> None:
    crew_id = await make_crew(conn, "ann", "bob")
    sync = await start(conn, crew_id)

    for ref in ("ann", "org"):
        with refused("SB036", "customer_active") as refusal:
            await erase(conn, ref)
        assert refusal.detail["auto_syncs"] == 1
    await call(conn, "set_auto_sync_status", p_actor=ACTOR, p_auto_sync_id=UUID(sync["id"]), p_status="cancelled")
    document = await call_json(conn, "export_customer", p_customer_ref="ann")
    await erase(conn)

    assert [crew["crew_name"] for crew in document["crew_memberships"]] == ["Football"]
    assert [asked["event_name"] for asked in document["responses"]] == [sync["event_name"]]
    left = "SELECT c.ref, m.left_at IS NOT NULL FROM crew_members m JOIN customers c ON c.id = m.customer_id ORDER BY 1"
    assert [tuple(row) for row in await conn.fetch(left)] == [("bob", False), (None, True)]
    assert await faults(conn) == []
