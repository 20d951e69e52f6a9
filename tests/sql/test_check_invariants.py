"""check_invariants: nothing on a healthy database, however lively; and every kind of damage, by the row that has it.

Damage needs a superuser with the triggers off: nobody else can do it.
"""

import json
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest

from tests.factories import ACTOR, HOUR, SYSTEM, Factory, change_booking
from tests.sql.schedules import put_schedule
from tests.sql.support import at, call_json, call_row, call_value, cancel

DAY = 24 * HOUR
MONDAY = at("2030-06-03T00:00")
EARLY, STARTS = MONDAY + DAY, MONDAY + 9 * DAY
STATUSES = {"pending", "confirmed", "completed", "cancelled", "failed", "expired", "no_show"}
ENTRY_STATUSES = {"waiting", "offered", "accepted", "expired", "cancelled", "closed"}


async def report(conn: asyncpg.Connection, **arguments: Any) -> Any:
    return await call_json(conn, "check_invariants", **arguments)


async def assert_healthy(conn: asyncpg.Connection) -> None:
    found = await report(conn)
    assert (found["violation_count"], found["violations"]) == (0, []), found


async def damage(conn: asyncpg.Connection, statement: str, *arguments: object) -> None:
    """Do what no trigger may see. It must hit exactly one row."""
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        assert (await conn.execute(statement, *arguments)).rpartition(" ")[2] == "1"


async def hold(make: Factory, slot_id: UUID, **overrides: Any) -> UUID:
    return await make.booking(slot_id, **{"p_payment_method": "pay_now", "p_now": MONDAY} | overrides)


async def join(conn: asyncpg.Connection, slot_id: UUID, ref: str = "bob", **overrides: Any) -> Any:
    arguments = {"p_actor": ACTOR, "p_slot_id": slot_id, "p_customer": json.dumps({"ref": ref}), "p_now": MONDAY}
    row = await call_row(conn, "join_waitlist", **arguments | overrides)
    return json.loads(row["body"])


async def bookings_of_every_status(make: Factory, conn: asyncpg.Connection) -> None:
    early = await make.slot(starts_at=EARLY, max_bookings=3, max_units=9)
    slot_id = await make.slot(starts_at=STARTS, max_bookings=4)
    absent = await make.booking(early, p_now=MONDAY, p_units=4)
    await make.booking(early, p_now=MONDAY, p_units=2)
    failed, _lapsed = await hold(make, slot_id), await hold(make, slot_id)
    gone, _kept = [await make.booking(slot_id, p_now=MONDAY) for _ in range(2)]
    await change_booking(conn, "mark_no_show", absent, 1, p_now=EARLY)
    await change_booking(conn, "record_payment", failed, 1, p_payment_status="failed", p_now=MONDAY)
    await cancel(conn, gone, p_now=MONDAY)
    await conn.execute("SELECT complete_due_bookings($1, 10, $2)", SYSTEM, EARLY + HOUR)
    await conn.execute("SELECT expire_due_bookings($1, 10, $2)", SYSTEM, EARLY)
    await hold(make, slot_id, p_now=EARLY)


async def places_in_line_of_every_status(make: Factory, conn: asyncpg.Connection) -> None:
    begun, waiting, lapsed, left, accepted, offered = [
        await make.slot(starts_at=starts_at) for starts_at in (EARLY, *(STARTS + n * HOUR for n in range(5)))
    ]
    line = (begun, waiting, lapsed, left, accepted, offered)
    holders = {slot_id: await make.booking(slot_id, p_now=MONDAY) for slot_id in line}
    entries = {slot_id: UUID((await join(conn, slot_id))["id"]) for slot_id in line}
    await cancel(conn, holders[lapsed], p_now=MONDAY)
    await conn.execute("SELECT expire_due_bookings($1, 10, $2)", SYSTEM, MONDAY + 2 * HOUR)
    for slot_id in (left, accepted, offered):
        await cancel(conn, holders[slot_id], p_now=MONDAY + 2 * HOUR)
    for function, slot_id in {"leave_waitlist": left, "accept_offer": accepted}.items():
        await call_row(conn, function, p_actor=ACTOR, p_entry_id=entries[slot_id], p_now=MONDAY + 2 * HOUR)
    await conn.execute("SELECT close_waitlists($1, 10, $2)", SYSTEM, EARLY)


async def test_an_empty_database_breaks_no_promise(conn: asyncpg.Connection) -> None:
    assert await report(conn) == {
        "checked": {"slots": 0, "bookings": 0, "jobs": 0},
        "violation_count": 0,
        "violations": [],
    }


async def test_bookings_of_every_status_break_no_promise(make: Factory, conn: asyncpg.Connection) -> None:
    await bookings_of_every_status(make, conn)

    assert {row[0] for row in await conn.fetch("SELECT status FROM bookings")} == STATUSES
    assert (await report(conn))["checked"] == {"slots": 2, "bookings": 7, "jobs": 2}
    await assert_healthy(conn)


async def test_waitlists_break_no_promise(make: Factory, conn: asyncpg.Connection) -> None:
    await places_in_line_of_every_status(make, conn)

    assert {row[0] for row in await conn.fetch("SELECT status FROM waitlist_entries")} == ENTRY_STATUSES
    await assert_healthy(conn)


async def test_money_for_an_offer_that_was_over_breaks_no_promise(make: Factory, conn: asyncpg.Connection) -> None:
    entry = await join(conn, await make.slot(starts_at=STARTS), p_payment_method="pay_now")
    await conn.execute("SELECT expire_due_bookings($1, 10, $2)", SYSTEM, MONDAY + 2 * HOUR)
    paid = await call_json(
        conn,
        "record_payment_event",
        p_actor=SYSTEM,
        p_event_id="evt_1",
        p_event_type="payment_intent.succeeded",
        p_booking_id=UUID(entry["booking_id"]),
        p_payment_status="paid",
        p_now=MONDAY + 3 * HOUR,
    )

    assert paid["outcome"] == "recorded"
    assert await conn.fetchval("SELECT status FROM waitlist_entries") == "accepted"
    await assert_healthy(conn)


async def test_schedules_break_no_promise_also_once_they_rolled_on_and_changed(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, p_now=MONDAY)
    slot_id = await conn.fetchval("SELECT id FROM slots ORDER BY starts_at LIMIT 1")
    await make.booking(slot_id, p_now=MONDAY)

    assert await call_value(conn, "refresh_due_schedules", p_actor=SYSTEM, p_limit=9, p_now=MONDAY + 2 * DAY) == 1
    await assert_healthy(conn)
    await put_schedule(conn, resource_id, p_now=MONDAY, max_bookings=5, slot_minutes=45)
    assert await conn.fetchval("SELECT count(*) FROM slots WHERE is_legacy") == 1
    await assert_healthy(conn)


class House(NamedTuple):
    """A healthy database with one row of each kind to damage, all of whose slots have one place for two units."""

    slot_id: UUID
    free_slot_id: UUID
    confirmed: UUID
    held: UUID
    cancelled: UUID
    customer_id: UUID
    offered: UUID
    accepted: UUID
    resource_id: UUID


@pytest.fixture
async def house(make: Factory, conn: asyncpg.Connection) -> House:
    slots = [await make.slot(starts_at=STARTS + n * HOUR, max_units=2) for n in range(5)]
    confirmed = await make.booking(slots[0], p_now=MONDAY)
    held = await hold(make, slots[2])
    gone = await make.booking(slots[1], p_now=MONDAY)
    await cancel(conn, gone, p_now=MONDAY)
    offered, accepted = [UUID((await join(conn, slot_id))["id"]) for slot_id in slots[3:]]
    await call_row(conn, "accept_offer", p_actor=ACTOR, p_entry_id=accepted, p_now=MONDAY)
    resource_id = await make.resource("Court")
    await put_schedule(conn, resource_id, p_now=MONDAY)
    await assert_healthy(conn)
    customer_id = await conn.fetchval("SELECT id FROM customers WHERE ref = 'bob'")
    return House(slots[0], slots[1], confirmed, held, gone, customer_id, offered, accepted, resource_id)


ONE_MORE = """
    INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status, units, reference)
    SELECT s.resource_id, s.id, s.starts_at, s.ends_at, $2, 'confirmed', $3, 'XXXXXXX' FROM slots s WHERE s.id = $1
"""
ITS_JOB = """
    INSERT INTO jobs (job_type, dedupe_key, booking_id, scheduled_at, run_at)
    SELECT $2, b.id::text, b.id, b.ends_at, b.ends_at FROM bookings b WHERE b.id = $1
"""
END = (STARTS + HOUR).isoformat()
HELD_UNTIL = (MONDAY + HOUR / 4).isoformat()


async def found(conn: asyncpg.Connection) -> list[tuple[str, UUID, dict[str, Any]]]:
    """The violations as invariant, id and facts."""
    answer = await report(conn)
    assert answer["violation_count"] == len(answer["violations"])
    return [(v["invariant"], UUID(v["id"]), v["facts"]) for v in answer["violations"]]


@pytest.mark.parametrize(("bookings", "units"), [(0, 1), (1, 0), (1, 2), (0, 0)])
async def test_a_counter_that_is_not_what_a_recount_gives_is_found(
    house: House, conn: asyncpg.Connection, bookings: int, units: int
) -> None:
    await damage(
        conn,
        "UPDATE slots SET booked_bookings = $2, booked_units = $3 WHERE id = $1",
        house.slot_id,
        bookings,
        units,
    )

    facts = {
        "booked_bookings": bookings,
        "booked_units": units,
        "recounted_bookings": 1,
        "recounted_units": 1,
    }
    assert await found(conn) == [("slot_counters", house.slot_id, facts)]


async def test_a_counter_of_a_slot_that_nobody_has_booked_is_found(house: House, conn: asyncpg.Connection) -> None:
    await damage(conn, "UPDATE slots SET booked_bookings = 1 WHERE id = $1", house.free_slot_id)

    facts = {"booked_bookings": 1, "booked_units": 0, "recounted_bookings": 0, "recounted_units": 0}
    assert await found(conn) == [("slot_counters", house.free_slot_id, facts)]


async def test_a_slot_with_more_bookings_than_places_is_found(house: House, conn: asyncpg.Connection) -> None:
    await damage(conn, ONE_MORE, house.slot_id, house.customer_id, 1)
    booking_id = await conn.fetchval("SELECT id FROM bookings WHERE reference = 'XXXXXXX'")
    await damage(conn, ITS_JOB, booking_id, "complete_booking")

    counters = {"booked_bookings": 1, "booked_units": 1, "recounted_bookings": 2, "recounted_units": 2}
    assert await found(conn) == [
        ("slot_capacity", house.slot_id, {"max_bookings": 1, "max_units": 2, "bookings": 2, "units": 2}),
        ("slot_counters", house.slot_id, counters),
    ]


async def test_a_slot_with_more_units_than_it_has_is_found(house: House, conn: asyncpg.Connection) -> None:
    await damage(conn, "UPDATE bookings SET units = 3 WHERE id = $1", house.confirmed)

    capacity, counters = await found(conn)
    assert capacity == (
        "slot_capacity",
        house.slot_id,
        {"max_bookings": 1, "max_units": 2, "bookings": 1, "units": 3},
    )
    assert counters[:2] == ("slot_counters", house.slot_id)


@pytest.mark.parametrize("lost", ["DELETE FROM jobs", "UPDATE jobs SET status = 'discarded', processed_at = now()"])
@pytest.mark.parametrize("status", ["confirmed", "pending"])
async def test_a_booking_whose_job_is_missing_is_found(
    house: House, conn: asyncpg.Connection, status: str, lost: str
) -> None:
    booking_id = house.confirmed if status == "confirmed" else house.held
    await damage(conn, f"{lost} WHERE booking_id = $1", booking_id)

    facts = {"status": status, "job_type": None, "scheduled_at": None}
    assert await found(conn) == [("booking_job", booking_id, facts)]


async def test_a_job_of_a_booking_that_is_over_is_found(house: House, conn: asyncpg.Connection) -> None:
    await damage(conn, ITS_JOB, house.cancelled, "complete_booking")

    facts = {"status": None, "job_type": "complete_booking", "scheduled_at": (STARTS + 2 * HOUR).isoformat()}
    assert await found(conn) == [("booking_job", house.cancelled, facts)]


async def test_a_job_besides_the_right_one_is_found(house: House, conn: asyncpg.Connection) -> None:
    await damage(conn, ITS_JOB, house.confirmed, "expire_booking")

    facts = {"status": "confirmed", "job_type": "expire_booking", "scheduled_at": END}
    assert await found(conn) == [("booking_job", house.confirmed, facts)]


async def test_a_job_of_the_wrong_kind_is_found(house: House, conn: asyncpg.Connection) -> None:
    await damage(conn, "UPDATE jobs SET job_type = 'complete_booking' WHERE booking_id = $1", house.held)

    facts = {"status": "pending", "job_type": "complete_booking", "scheduled_at": HELD_UNTIL}
    assert await found(conn) == [("booking_job", house.held, facts)]


@pytest.mark.parametrize("status", ["confirmed", "pending"])
async def test_a_job_at_another_time_is_found(house: House, conn: asyncpg.Connection, status: str) -> None:
    booking_id = house.confirmed if status == "confirmed" else house.held
    await damage(conn, "UPDATE jobs SET scheduled_at = $2 WHERE booking_id = $1", booking_id, MONDAY)

    job_type = "complete_booking" if status == "confirmed" else "expire_booking"
    facts = {"status": status, "job_type": job_type, "scheduled_at": MONDAY.isoformat()}
    assert await found(conn) == [("booking_job", booking_id, facts)]


@pytest.mark.parametrize("status", ["accepted", "expired", "cancelled"])
async def test_an_entry_that_is_over_while_its_offer_holds_a_place_is_found(
    house: House, conn: asyncpg.Connection, status: str
) -> None:
    await damage(conn, "UPDATE waitlist_entries SET status = $2 WHERE id = $1", house.offered, status)

    ((invariant, entry_id, facts),) = await found(conn)
    assert (invariant, entry_id, facts["booking_status"]) == ("waitlist_offer", house.offered, "pending")
    booking_id = await conn.fetchval("SELECT booking_id FROM waitlist_entries WHERE id = $1", house.offered)
    assert facts["booking_id"] == str(booking_id)


async def test_an_offer_whose_booking_is_none_any_more_is_found(house: House, conn: asyncpg.Connection) -> None:
    await damage(conn, "UPDATE waitlist_entries SET status = 'offered' WHERE id = $1", house.accepted)

    ((invariant, entry_id, facts),) = await found(conn)
    assert (invariant, entry_id, facts["booking_status"]) == ("waitlist_offer", house.accepted, "confirmed")


@pytest.mark.parametrize("lost", ["DELETE FROM jobs", "UPDATE jobs SET status = 'processed', processed_at = now()"])
async def test_a_schedule_that_nothing_will_refresh_is_found(house: House, conn: asyncpg.Connection, lost: str) -> None:
    await damage(conn, f"{lost} WHERE dedupe_key = $1", str(house.resource_id))

    assert await found(conn) == [("schedule_job", house.resource_id, {"pending_jobs": 0})]


async def test_the_report_counts_all_but_shows_as_many_as_asked_for(house: House, conn: asyncpg.Connection) -> None:
    await damage(conn, "UPDATE slots SET booked_units = 0 WHERE id = $1", house.slot_id)
    await damage(conn, "UPDATE slots SET booked_units = 1 WHERE id = $1", house.free_slot_id)
    await damage(conn, "DELETE FROM jobs WHERE booking_id = $1", house.held)
    everything = await report(conn)
    assert [v["invariant"] for v in everything["violations"]] == ["booking_job", "slot_counters", "slot_counters"]

    for limit in (0, 1, 2, 3, 4):
        shown = await report(conn, p_limit=limit)
        assert shown["violation_count"] == 3
        assert shown["violations"] == everything["violations"][:limit]


async def test_by_default_a_hundred_are_shown(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    for n in range(101):
        await make.slot(resource_id, starts_at=STARTS + n * HOUR)
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica; UPDATE slots SET booked_units = 1")

    shown = await report(conn)

    assert (shown["violation_count"], len(shown["violations"])) == (101, 100)
    ids = [UUID(v["id"]) for v in shown["violations"]]
    assert ids == sorted(ids)


async def test_looking_repairs_nothing(house: House, conn: asyncpg.Connection) -> None:
    await damage(conn, "UPDATE slots SET booked_units = 0 WHERE id = $1", house.slot_id)

    assert await report(conn) == await report(conn)
    assert await conn.fetchval("SELECT booked_units FROM slots WHERE id = $1", house.slot_id) == 0
