"""import_bookings: what another system held is here, with what it names, and a repeat changes nothing."""

import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.factories import ACTOR, HOUR, SYSTEM, TOMORROW, Factory
from tests.sql.support import call_value, jobs_of, occupancy, one, refused, violates

LAST_YEAR = TOMORROW - timedelta(days=400)


def row(external_id: str, **overrides: Any) -> dict[str, Any]:
    """A row as the importer hands it over; `starts_at` may be a datetime, and lasts an hour."""
    start = overrides.pop("starts_at", TOMORROW)
    return {
        "external_id": external_id,
        "resource": "court-1",
        "timezone": "Europe/Athens",
        "starts_at": start.isoformat(),
        "ends_at": (start + HOUR).isoformat(),
        "status": "confirmed",
        "customer": {"ref": f"customer of {external_id}"},
        "units": 1,
        "payment_method": "pay_on_arrival",
        "payment_status": "pending",
    } | overrides


async def bring_in(conn: asyncpg.Connection, *rows: dict[str, Any], **overrides: Any) -> list[str]:
    arguments = {"p_actor": ACTOR, "p_rows": json.dumps(rows)} | overrides
    return list(await call_value(conn, "import_bookings", **arguments))


async def test_a_row_brings_its_resource_slot_and_customer_with_it(conn: asyncpg.Connection) -> None:
    assert await bring_in(conn, row("a", units=3)) == ["created"]

    assert await one(
        conn,
        """SELECT r.name, r.timezone, c.ref, s.source, s.max_bookings, s.booked_units, b.status, b.starts_at
        FROM bookings b
        JOIN slots s ON s.id = b.slot_id
        JOIN resources r ON r.id = b.resource_id
        JOIN customers c ON c.id = b.customer_id
        WHERE b.external_id = 'a'""",
    ) == ("court-1", "Europe/Athens", "customer of a", "import", 1, 3, "confirmed", TOMORROW)


async def test_a_repeat_changes_nothing(conn: asyncpg.Connection) -> None:
    await bring_in(conn, row("a"), row("b", starts_at=TOMORROW + HOUR))
    audited = await conn.fetchval("SELECT count(*) FROM audit_log")

    assert await bring_in(conn, row("b", units=9), row("c"), row("a")) == ["unchanged", "created", "unchanged"]

    assert await conn.fetchval("SELECT sum(units) FROM bookings") == 3
    assert await bring_in(conn, row("a"), row("b"), row("c")) == ["unchanged"] * 3
    # the third booking, its customer, and the slot that grew for it and is full again
    assert await conn.fetchval("SELECT count(*) FROM audit_log") == audited + 4


async def test_a_slot_the_import_made_grows_to_hold_what_it_brings(conn: asyncpg.Connection) -> None:
    await bring_in(conn, row("a"), row("b"), row("c", status="cancelled"), row("d", status="completed"))

    assert await one(conn, "SELECT max_bookings, booked_bookings FROM slots") == (3, 3)


async def test_a_slot_of_our_own_does_not_grow_and_the_whole_batch_stays_out(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource("court-1")
    slot_id = await make.slot(resource_id, starts_at=TOMORROW, max_bookings=1)
    await make.booking(slot_id)

    with refused("SB002", "slot_full"):
        await bring_in(conn, row("a", starts_at=TOMORROW + HOUR), row("b"))

    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1
    assert await bring_in(conn, row("b", status="cancelled")) == ["created"]
    assert await occupancy(conn, slot_id) == (1, 1)


async def test_a_slot_of_our_own_takes_what_fits(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource("court-1")
    slot_id = await make.slot(resource_id, starts_at=TOMORROW, max_bookings=2, max_units=3)

    assert await bring_in(conn, row("a", units=2)) == ["created"]
    with refused("SB008", "insufficient_units"):
        await bring_in(conn, row("b", units=2))

    assert await occupancy(conn, slot_id) == (1, 2)


@pytest.mark.parametrize("name", ["court-1", "{id}"])
async def test_a_resource_is_found_by_its_name_or_its_id(make: Factory, conn: asyncpg.Connection, name: str) -> None:
    resource_id = await make.resource("court-1")

    await bring_in(conn, row("a", resource=name.format(id=resource_id)))

    assert await one(conn, "SELECT resource_id FROM bookings") == (resource_id,)
    assert await conn.fetchval("SELECT count(*) FROM resources") == 1


async def test_an_external_id_goes_before_an_id_and_an_id_before_a_name(
    make: Factory, conn: asyncpg.Connection
) -> None:
    by_id = await make.resource("first")
    by_external_id = await make.resource("second")
    await make.resource(str(by_id))

    assert await call_value(conn, "import_resource", p_resource=str(by_id), p_timezone="UTC") == by_id
    await conn.execute("UPDATE resources SET external_id = $1 WHERE id = $2", str(by_id), by_external_id)
    assert await call_value(conn, "import_resource", p_resource=str(by_id), p_timezone="UTC") == by_external_id


async def test_a_resource_keeps_its_zone_whatever_later_rows_say(conn: asyncpg.Connection) -> None:
    await bring_in(conn, row("a"), row("b", timezone="Asia/Tokyo"))

    assert await one(conn, "SELECT timezone FROM resources") == ("Europe/Athens",)


async def test_what_lies_in_the_past_comes_in_as_it_was(conn: asyncpg.Connection) -> None:
    statuses = ("completed", "cancelled", "no_show", "expired", "failed", "confirmed")

    await bring_in(conn, *(row(status, status=status, starts_at=LAST_YEAR) for status in statuses))

    rows = await conn.fetch("SELECT external_id, id FROM bookings WHERE status = external_id")
    jobs = {r["external_id"]: await jobs_of(conn, r["id"]) for r in rows}
    assert jobs == {status: {} for status in statuses[:-1]} | {"confirmed": {"complete_booking": "pending"}}


async def test_a_booking_that_came_in_as_still_running_completes_with_the_next_run(conn: asyncpg.Connection) -> None:
    await bring_in(conn, row("a", starts_at=LAST_YEAR))

    assert await call_value(conn, "complete_due_bookings", p_actor=SYSTEM, p_limit=10) == 1

    assert await one(conn, "SELECT status FROM bookings") == ("completed",)


async def test_a_hold_comes_in_with_the_time_its_resource_gives_one(conn: asyncpg.Connection) -> None:
    await bring_in(conn, row("a", status="pending", payment_method="pay_now"), p_now=TOMORROW - HOUR)

    assert await one(conn, "SELECT expires_at FROM bookings") == (TOMORROW - timedelta(minutes=45),)


async def test_a_row_that_contradicts_itself_is_refused(conn: asyncpg.Connection) -> None:
    with violates("bookings_payment_check"):
        await bring_in(conn, row("a", payment_status="refunded"))
    with violates("slots_interval_check"):
        await bring_in(conn, row("a", ends_at=TOMORROW.isoformat()))
    with refused("22023"):
        await bring_in(conn, row("a", timezone="Mars/Olympus"))

    assert await conn.fetchval("SELECT count(*) FROM bookings") == 0


async def test_the_trail_names_who_imported(conn: asyncpg.Connection) -> None:
    await bring_in(conn, row("a"))

    actors = await conn.fetch("SELECT DISTINCT performed_by, performed_by_id FROM audit_log")
    assert [tuple(actor) for actor in actors] == [("admin", "tester")]


async def test_an_imported_slot_is_made_once_and_found_again(make: Factory, conn: asyncpg.Connection) -> None:
    arguments = {"p_resource_id": await make.resource(), "p_starts_at": TOMORROW, "p_ends_at": TOMORROW + HOUR}

    first, again = [await call_value(conn, "import_slot", **arguments) for _ in range(2)]

    assert first == again
    assert await conn.fetchval("SELECT count(*) FROM slots") == 1


async def test_a_single_row_answers_what_became_of_it(conn: asyncpg.Connection) -> None:
    outcomes = [await call_value(conn, "import_booking", p_row=json.dumps(row("a"))) for _ in range(2)]

    assert outcomes == ["created", "unchanged"]
