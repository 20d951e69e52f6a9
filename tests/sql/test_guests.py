"""Guests, who booked without a ref: export_customer, erase_customer and the legal holds take them by id.

No guest has a ref to compare with: what erase_customer_rows and redact_audit_log empty is that guest's alone.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.audit.support import faults
from tests.concurrency.rivals import begin, outcomes, until_waiting
from tests.conftest import Connect
from tests.credentials.support import put_provider
from tests.factories import ACTOR, SYSTEM, TOMORROW, Factory
from tests.sql.support import call, call_json, call_value, cancel, one, refused
from tests.sql.test_privacy import erase

HELD = ("customers", "bookings", "waitlist_entries", "prebookings", "messages", "audit_log", "jobs", "idempotency_keys")
# nothing that these tests make is later
LATER = datetime(2040, 6, 15, 12, tzinfo=UTC)
KEEP = timedelta(days=365)


def by(name: str, **actor: str) -> str:
    """An actor whose every call is a request of that name."""
    said = {"type": "admin", "id": "tester", "ip": "192.0.2.1", "user_agent": "pytest", "request_id": name}
    return json.dumps(said | actor)


async def a_past(conn: asyncpg.Connection, make: Factory, name: str = "Ann", actor: str = "", **customer: str) -> str:
    """How to name a guest with rows of every kind, none of them live; or a customer, where a ref is given."""
    actor = actor or by(name)
    person = json.dumps({"name": name, "email": f"{name}@example.com"} | customer)
    slot_id = await make.slot(max_bookings=9)
    key = {"p_idempotency_key": name, "p_request_hash": b"hash"}
    note = json.dumps({"note": name})
    booking_id = await make.booking(slot_id, p_actor=actor, p_customer=person, p_metadata=note, **key)
    await cancel(conn, booking_id, p_actor=actor, p_reason=f"{name} is ill")
    (customer_id,) = await one(conn, "SELECT customer_id FROM bookings WHERE id = $1", booking_id)
    await conn.execute(
        "INSERT INTO waitlist_entries (slot_id, customer_id, status) VALUES ($1, $2, 'cancelled')", slot_id, customer_id
    )
    await conn.execute(
        "INSERT INTO prebookings (customer_id, provider, targets, opens_at) VALUES ($1, 'gametime', $2, $3)",
        *(customer_id, json.dumps([{"name": name}]), TOMORROW),
    )
    await conn.execute("UPDATE prebookings SET status = 'executing' WHERE customer_id = $1", customer_id)
    await conn.execute(
        "UPDATE prebookings SET status = 'failed', reason = 'gave_up', detail = $2 WHERE customer_id = $1",
        *(customer_id, name),
    )
    await conn.execute(
        "UPDATE messages SET status = 'skipped', reason = 'too_late' WHERE customer_id = $1", customer_id
    )
    return f"id:{customer_id}"


@pytest.fixture
async def prepared(conn: asyncpg.Connection) -> None:
    """A provider, and a channel for messages."""
    await put_provider(conn)
    await conn.execute("INSERT INTO message_channels (name, is_enabled) VALUES ('email', true)")


async def rows(conn: asyncpg.Connection) -> list[str]:
    """Everything that is held, a row a text."""
    found = [await conn.fetch(f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1") for table in HELD]
    return [row[0] for table in found for row in table]


async def own_ids(conn: asyncpg.Connection, who: str) -> list[str]:
    """What every row of theirs, or about one of these, has in it."""
    subjects = await call(conn, "customer_subjects", p_customer_id=UUID(who.removeprefix("id:")))
    messages = await conn.fetch("SELECT id::text FROM messages WHERE customer_id = $1", who.removeprefix("id:"))
    return [row["subject_id"] for row in subjects] + [row["id"] for row in messages]


@pytest.mark.usefixtures("prepared")
async def test_an_erased_guest_is_nobody_and_everybody_elses_rows_are_as_they_were(
    make: Factory, conn: asyncpg.Connection
) -> None:
    ann = await a_past(conn, make)
    await a_past(conn, make, "Bob")
    await a_past(conn, make, "Cid", by("Cid", type="customer", id="customer:cid", customer_ref="cid"), ref="cid")
    ids = await own_ids(conn, ann)
    before = await rows(conn)
    assert sum("Ann" in row for row in before) > len(HELD)

    erased = await erase(conn, ann, p_actor=by("erasure"))

    assert erased["customer_id"] == ann.removeprefix("id:")
    after = await rows(conn)
    assert [row for row in after if "Ann" in row] == []

    def of_others(found: list[str]) -> list[str]:
        return [row for row in found if not any(own in row for own in ids)]

    assert of_others(after) == of_others(before)
    assert {"Bob", "Cid"} == {name for name in ("Bob", "Cid") if any(name in row for row in of_others(after))}
    assert await faults(conn) == []


@pytest.mark.usefixtures("prepared")
async def test_an_export_of_a_guest_holds_the_guests_own_and_nobody_elses(
    make: Factory, conn: asyncpg.Connection
) -> None:
    ann = await a_past(conn, make)
    bob = await a_past(conn, make, "Bob")

    document = await call_json(conn, "export_customer", p_customer_ref=ann)

    assert (document["customer"]["ref"], document["customer"]["name"]) == (None, "Ann")
    kinds = ("bookings", "waitlist_entries", "prebookings", "messages")
    assert [kind for kind in kinds if not document[kind]] == []
    text = json.dumps(document)
    assert [theirs for theirs in await own_ids(conn, bob) if theirs in text] == []
    subjects = {entry["subject_id"] for entry in document["audit_entries"]}
    assert subjects == {row["subject_id"] for row in await call(conn, "customer_subjects", p_customer_id=UUID(ann[3:]))}


@pytest.mark.usefixtures("prepared")
async def test_a_legal_hold_forbids_erasing_a_guest_until_it_is_taken_away(
    make: Factory, conn: asyncpg.Connection
) -> None:
    ann, bob = await a_past(conn, make), await a_past(conn, make, "Bob")

    hold = await call_json(conn, "put_legal_hold", p_actor=ACTOR, p_customer_ref=ann, p_reason="case 7")

    assert (f"id:{hold['customer_id']}", hold["customer_ref"]) == (ann, None)
    with refused("SB035", "legal_hold"):
        await erase(conn, ann)
    await erase(conn, bob)
    await call(conn, "delete_legal_hold", p_actor=ACTOR, p_customer_ref=ann)
    await erase(conn, ann)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("ref", [{}, {"ref": "ann"}], ids=["guest", "with a ref"])
async def test_by_the_id_too_an_erased_customer_is_nobody(
    make: Factory, conn: asyncpg.Connection, ref: dict[str, str]
) -> None:
    ann = await a_past(conn, make, **ref)
    key: dict[str, Any] = {"p_idempotency_key": "k", "p_request_hash": b"hash"}
    first = await erase(conn, ann, **key)

    for function in ("erase_customer", "export_customer", "put_legal_hold", "delete_legal_hold"):
        given = {"p_actor": ACTOR, "p_customer_ref": ann, "p_reason": "x"}
        takes = await conn.fetchval("SELECT proargnames FROM pg_proc WHERE proname = $1", function)
        with refused("SB037", "customer_not_found"):
            await call(conn, function, **{name: value for name, value in given.items() if name in takes})
    assert await erase(conn, ann, **key) == first


@pytest.mark.parametrize("is_repeated", [True, False], ids=["under one key", "without a key"])
async def test_of_two_erasures_of_a_guest_at_once_the_second_repeats_the_first_or_finds_nobody(
    make: Factory, conn: asyncpg.Connection, connect: Connect, is_repeated: bool
) -> None:
    # with nothing before the customer's own row at which one could wait for the other
    await cancel(conn, await make.booking(p_customer='{"name": "Ann"}'))
    ann = await conn.fetchval("SELECT 'id:' || id FROM customers")
    key: dict[str, Any] = {"p_idempotency_key": "k", "p_request_hash": b"hash"} if is_repeated else {}

    async with conn.transaction():
        await conn.execute("SELECT FROM customers FOR UPDATE")
        rivals = begin([erase(await connect(), ann, **key) for _ in range(2)])
        await until_waiting(await connect(), 2)
    won, lost = await outcomes(rivals)

    assert [f"id:{answer['customer_id']}" for answer in won] == [ann] * (2 if is_repeated else 1)
    assert lost == ([] if is_repeated else ["SB037 customer_not_found"])
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE event = 'customer.erased'") == 1


@pytest.mark.usefixtures("prepared")
async def test_a_hold_that_waits_for_the_erasure_of_a_guest_finds_nobody(
    make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    ann, rival = await a_past(conn, make), await connect()

    async with conn.transaction():
        await erase(conn, ann)
        (holding,) = begin([call_json(rival, "put_legal_hold", p_actor=ACTOR, p_customer_ref=ann, p_reason="case 7")])
        await until_waiting(await connect(), 1)

    with refused("SB037", "customer_not_found"):
        await holding


@pytest.mark.usefixtures("prepared")
async def test_an_idle_guest_is_erased_by_a_job_as_everybody_is(make: Factory, conn: asyncpg.Connection) -> None:
    ann = await a_past(conn, make)

    assert await call_value(conn, "enqueue_idle_customers", p_limit=9, p_keep=KEEP, p_now=LATER) == 1
    payload = json.loads(await conn.fetchval("SELECT payload FROM jobs WHERE job_type = 'erase_idle_customer'"))
    assert payload == {"customer_id": ann.removeprefix("id:")}
    job = {"p_actor": SYSTEM, "p_customer_id": UUID(payload["customer_id"]), "p_keep": KEEP, "p_now": LATER}

    assert await call_value(conn, "erase_idle_customer", **job) is True
    assert await call_value(conn, "erase_idle_customer", **job) is False

    assert tuple(await one(conn, "SELECT name, email, erased_at FROM customers")) == (None, None, LATER)
    assert await call_value(conn, "enqueue_idle_customers", p_limit=9, p_keep=KEEP, p_now=LATER + KEEP * 2) == 0
