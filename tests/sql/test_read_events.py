"""read_events, event_json, event_type: every change is told once, as it was then, and to whom it concerns."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, get_args
from uuid import UUID

import asyncpg
import pytest

from app.events.schemas import Event
from app.prebookings.schemas import PrebookingStatus
from app.schemas import EventType
from tests.conftest import Connect
from tests.factories import HOUR, SYSTEM, TOMORROW, Factory, change_booking, insert_booking, make_customer
from tests.sql.events import Reader, names, reader
from tests.sql.schedules import put_exception, put_schedule
from tests.sql.support import call_value, cancel, move, refused

NOW = TOMORROW - timedelta(hours=6)
LATER = TOMORROW + timedelta(days=3)
Change = Callable[[asyncpg.Connection, Factory, UUID], Awaitable[Any]]


async def body_of(conn: asyncpg.Connection, booking_id: UUID) -> Any:
    row = await conn.fetchrow("SELECT body FROM get_booking($1)", booking_id)
    assert row
    return json.loads(row["body"])


async def of_bookings(told: Reader) -> list[dict[str, Any]]:
    return [event for event in await told.news() if event["subject"]["type"] == "booking"]


async def test_without_a_cursor_nothing_has_happened_yet(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()

    begun = await reader(conn)

    assert await begun.news() == []


async def test_a_new_booking_is_told_as_it_is(make: Factory, conn: asyncpg.Connection) -> None:
    told = await reader(conn)
    booking_id = await make.booking(await make.slot(max_bookings=2), p_metadata='{"seat": "4\\n5"}')

    (event,) = await told.news()

    audit_id, created_at = (await conn.fetch("SELECT id, created_at FROM audit_log WHERE event = 'booking.created'"))[0]
    assert Event.model_validate(event).created_at == created_at
    assert event | {"created_at": None} == {
        "id": f"evt_{audit_id}",
        "type": "booking.created",
        "created_at": None,
        "sequence": 1,
        "subject": {"type": "booking", "id": str(booking_id)},
        "data": await body_of(conn, booking_id),
    }


def through(function: str, **arguments: Any) -> Change:
    return lambda conn, _make, booking_id: change_booking(conn, function, booking_id, 1, **arguments)


async def to_another_slot(conn: asyncpg.Connection, make: Factory, booking_id: UUID) -> None:
    resource_id = await conn.fetchval("SELECT resource_id FROM bookings WHERE id = $1", booking_id)
    slot_id = await make.slot(resource_id, starts_at=TOMORROW + 9 * HOUR, max_bookings=2)
    await change_booking(conn, "reschedule_booking", booking_id, 1, p_slot_id=slot_id, p_now=NOW)


def by_sweep(function: str) -> Change:
    return lambda conn, _make, _booking_id: call_value(conn, function, p_actor=SYSTEM, p_limit=9, p_now=LATER)


def raw(update: str) -> Change:
    return lambda conn, _make, _booking_id: conn.execute(f"UPDATE bookings SET {update}")


async def raw_move(conn: asyncpg.Connection, make: Factory, booking_id: UUID) -> None:
    await move(conn, booking_id, await make.slot(max_bookings=2))


HOLD, PLACE = "pay_now", "pay_on_arrival"


@pytest.mark.parametrize(
    ("method", "change", "name"),
    [
        (HOLD, through("confirm_booking", p_now=NOW), "booking.confirmed"),
        (HOLD, through("record_payment", p_payment_status="paid", p_now=NOW), "booking.confirmed"),
        (HOLD, through("record_payment", p_payment_status="failed", p_now=NOW), "booking.failed"),
        (HOLD, by_sweep("expire_due_bookings"), "booking.expired"),
        (PLACE, to_another_slot, "booking.rescheduled"),
        (PLACE, through("cancel_booking", p_now=NOW), "booking.cancelled"),
        (PLACE, through("mark_no_show", p_now=LATER), "booking.no_show"),
        (PLACE, through("record_payment", p_payment_status="paid", p_now=NOW), "booking.modified"),
        (PLACE, by_sweep("complete_due_bookings"), "booking.completed"),
        (HOLD, raw("status = 'confirmed'"), "booking.confirmed"),
        (HOLD, raw("status = 'expired'"), "booking.expired"),
        (HOLD, raw("status = 'failed'"), "booking.failed"),
        (PLACE, raw("status = 'cancelled'"), "booking.cancelled"),
        (PLACE, raw("status = 'completed'"), "booking.completed"),
        (PLACE, raw("status = 'no_show'"), "booking.no_show"),
        (PLACE, raw("metadata = '{\"seat\": 4}'"), "booking.modified"),
        (PLACE, raw_move, "booking.rescheduled"),
    ],
)
async def test_a_change_yields_its_event_and_no_other(
    make: Factory, conn: asyncpg.Connection, method: str, change: Change, name: str
) -> None:
    booking_id = await make.booking(await make.slot(max_bookings=2), p_payment_method=method, p_now=NOW)
    told = await reader(conn)

    await change(conn, make, booking_id)

    (event,) = await told.news()
    assert (event["type"], event["sequence"]) == (name, 2)
    assert event["data"] == await body_of(conn, booking_id)


async def test_a_booking_by_a_raw_insert_is_told_too(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, customer_id = await make.slot(max_bookings=2), await make_customer(conn, "bob")
    told = await reader(conn)

    booking_id = await insert_booking(conn, slot_id, customer_id)

    (event,) = await told.news()
    assert (event["type"], event["data"]) == ("booking.created", await body_of(conn, booking_id))


async def test_what_is_rolled_back_is_never_told(make: Factory, conn: asyncpg.Connection, connect: Connect) -> None:
    booking_id, told = await make.booking(), await reader(await connect())
    undo = conn.transaction()
    await undo.start()
    await cancel(conn, booking_id)
    assert await told.news() == []
    await undo.rollback()

    await cancel(conn, booking_id)

    assert [(e["type"], e["sequence"]) for e in await told.news()] == [("booking.cancelled", 2)]


async def test_each_change_of_a_booking_has_the_next_number(make: Factory, conn: asyncpg.Connection) -> None:
    told = await reader(conn)
    booking_id = await make.booking(await make.slot(max_bookings=2), p_payment_method="pay_now")
    for units in (2, 3, 4):
        await conn.execute("UPDATE bookings SET units = $1", units)
    await cancel(conn, booking_id, p_version=4)

    events = await of_bookings(told)

    assert [event["sequence"] for event in events] == [1, 2, 3, 4, 5]
    assert [event["data"]["units"] for event in events] == [1, 2, 3, 4, 4]


async def test_what_is_not_told_yields_no_event(make: Factory, conn: asyncpg.Connection) -> None:
    told = await reader(conn)

    await make.slot()
    await make_customer(conn)
    await conn.execute("UPDATE slots SET max_bookings = 5")
    await conn.execute("UPDATE resources SET name = 'Court'")

    assert await told.news() == []
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE xid IS NULL") == 5


async def full_slots(told: Reader) -> list[dict[str, Any]]:
    return [event for event in await told.news() if event["type"] == "slot.full"]


async def test_a_slot_is_full_with_its_last_place_and_again_after_one_came_free(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id, told = await make.slot(max_bookings=2), await reader(conn)
    await make.booking(slot_id)
    assert await full_slots(told) == []

    booking_id = await make.booking(slot_id)
    (event,) = await full_slots(told)
    await cancel(conn, booking_id)
    assert await full_slots(told) == []
    await make.booking(slot_id)
    (again,) = await full_slots(told)

    assert event["subject"] == again["subject"] == {"type": "slot", "id": str(slot_id)}
    assert (event["data"]["booked_bookings"], event["data"]["max_bookings"]) == (2, 2)
    assert again["sequence"] > event["sequence"]


async def test_a_slot_is_full_with_its_last_unit(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id, told = await make.slot(max_bookings=9, max_units=5), await reader(conn)

    await make.booking(slot_id, p_units=4)
    assert await full_slots(told) == []
    await make.booking(slot_id)

    assert len(await full_slots(told)) == 1


async def test_a_slot_is_full_when_its_limit_shrinks_to_what_is_booked(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking(await make.slot(max_bookings=2))
    told = await reader(conn)

    await conn.execute("UPDATE slots SET max_bookings = 1")

    assert len(await full_slots(told)) == 1
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE event = 'slot.modified'") == 1


async def test_completing_the_bookings_of_a_full_slot_does_not_fill_it_again(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await make.booking()
    told = await reader(conn)

    await conn.execute("UPDATE bookings SET status = 'completed'")

    assert names(await told.news()) == ["booking.completed"]


async def test_new_rules_are_told_and_the_same_rules_again_are_not(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id, told = await make.resource(), await reader(conn)

    await put_schedule(conn, resource_id, p_now=NOW)
    (first,) = await told.news()
    await put_schedule(conn, resource_id, p_now=NOW)
    assert await told.news() == []
    await put_schedule(conn, resource_id, slot_minutes=30, p_now=NOW)
    (second,) = await told.news()

    assert names([first, second]) == ["schedule.changed"] * 2
    assert first["subject"] == second["subject"] == {"type": "schedule", "id": str(resource_id)}
    assert (first["data"]["slot_minutes"], second["data"]["slot_minutes"]) == (60, 30)
    assert first["sequence"] < second["sequence"]


async def test_a_dates_own_hours_are_a_change_of_the_schedule(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await put_schedule(conn, resource_id, p_now=NOW)
    told, day = await reader(conn), TOMORROW.date()

    await put_exception(conn, resource_id, day, [], p_now=NOW)
    await put_exception(conn, resource_id, day, None, p_now=NOW)

    closed, as_ever = await told.news()
    assert closed["type"] == as_ever["type"] == "schedule.changed"
    assert closed["subject"] == as_ever["subject"] == {"type": "schedule", "id": str(resource_id)}
    assert [(e["data"]["date"], e["data"]["hours"]) for e in (closed, as_ever)] == [(str(day), []), (str(day), None)]


async def test_a_raw_change_of_rules_is_told_and_numbered_too(make: Factory, conn: asyncpg.Connection) -> None:
    await put_schedule(conn, await make.resource(), p_now=NOW)
    told = await reader(conn)

    for minutes in (5, 6):
        await conn.execute("UPDATE schedules SET hold_minutes = $1", minutes)

    first, second = await told.news()
    assert [e["data"]["hold_minutes"] for e in (first, second)] == [5, 6]
    assert first["sequence"] < second["sequence"]


async def test_only_the_wanted_types_are_told(make: Factory, conn: asyncpg.Connection) -> None:
    told = await reader(conn, types=["slot.full", "booking.cancelled"])

    await cancel(conn, await make.booking())

    assert names(await told.news()) == ["slot.full", "booking.cancelled"]


async def test_a_customer_is_told_of_own_bookings_and_nothing_else(make: Factory, conn: asyncpg.Connection) -> None:
    ann, bob = [await reader(conn, customer_ref=ref) for ref in ("ann", "bob")]
    await put_schedule(conn, await make.resource(), p_now=NOW)
    of_ann = await make.booking(p_customer='{"ref": "ann"}')
    await make.booking(p_customer='{"ref": "bob"}')
    await cancel(conn, of_ann)

    assert names(await ann.news()) == ["booking.created", "booking.cancelled"]
    assert {event["data"]["customer_ref"] for event in ann.told} == {"ann"}
    assert {event["data"]["customer_ref"] for event in await bob.news()} == {"bob"}
    assert await Reader(conn, "1:1:", customer_ref="nobody").news() == []


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_page_by_page_is_the_same_as_at_once(make: Factory, conn: asyncpg.Connection, limit: int) -> None:
    whole, paged = await reader(conn), await reader(conn)
    for _ in range(3):
        await cancel(conn, await make.booking())

    assert await paged.news(limit) == await whole.news()
    assert len(whole.told) == 9


async def test_any_events_cursor_leads_to_the_events_after_it(make: Factory, conn: asyncpg.Connection) -> None:
    whole = await reader(conn)
    begun = whole.cursor
    for _ in range(2):
        await cancel(conn, await make.booking())
    await whole.news()

    rows = await conn.fetch("SELECT event_cursor FROM read_events($1) WHERE body IS NOT NULL", begun)

    for n, row in enumerate(rows, start=1):
        assert await Reader(conn, row["event_cursor"]).news() == whole.told[n:]
    assert len(rows) == 6


async def test_a_page_that_is_filtered_empty_still_leads_on(make: Factory, conn: asyncpg.Connection) -> None:
    told = await reader(conn, types=["booking.cancelled"])
    await cancel(conn, await make.booking())

    assert [names(await told.page(1)) for _ in range(3)] == [[], [], ["booking.cancelled"]]


async def test_what_changed_before_there_were_events_is_not_told(make: Factory, conn: asyncpg.Connection) -> None:
    told = await reader(conn)
    booking_id = await make.booking()
    await conn.execute("SET session_replication_role = replica")
    await conn.execute("UPDATE audit_log SET xid = NULL")
    await conn.execute("SET session_replication_role = origin")

    await cancel(conn, booking_id)

    assert names(await told.news()) == ["booking.cancelled"]


@pytest.mark.parametrize(
    ("cursor", "sqlstate"),
    [
        ("garbage", "22P02"),
        ("5:1:", "22P02"),
        ("1:1:~", "22P02"),
        ("1:1:~1:1:~x", "22P02"),
        ("1:1:~1:1:~1~99999999999999999999", "22003"),
        ("1:9000000000:", "22023"),
        ("1:1:~1:9000000000:", "22023"),
    ],
)
async def test_a_cursor_that_is_none_of_this_database_is_refused(
    conn: asyncpg.Connection, cursor: str, sqlstate: str
) -> None:
    with refused(sqlstate):
        await Reader(conn, cursor).page()


async def test_the_api_names_every_event_that_there_is(conn: asyncpg.Connection) -> None:
    statuses = await conn.fetch("SELECT DISTINCT to_status FROM booking_transitions")
    words = {"created", "rescheduled", "modified"} | {row["to_status"] for row in statuses}
    heard = [f"booking.{word}" for word in words]
    heard += [
        f"prebooking.{word}" for word in ("created", "modified", *get_args(PrebookingStatus)) if word != "pending"
    ]
    steps = ("created", "modified", "responded", "reminded", "paused", "resumed", "completed", "cancelled")
    heard += [f"auto_sync.{word}" for word in steps]
    heard += [f"credentials.{word}" for word in ("created", "unchecked", "valid", "invalid", "deleted")]
    heard += ["delivery.replayed"]
    heard += [f"webhook_endpoint.{word}" for word in ("created", "modified", "disabled", "tested")]
    heard += ["schedule.created", "schedule.modified", "schedule_exception.deleted", "slot.full", "slot.modified"]
    heard += ["customer.created", "job.modified", "api_key.created", "waitlist_entry.created", "resource.modified"]
    heard += ["crew.created", "crew_member.created", "auto_sync_participant.modified"]

    told = {await call_value(conn, "event_type", p_event=event) for event in heard}

    assert told == {None, *get_args(EventType)}


LOOKED_AT = """
    SELECT sum(seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables WHERE relname LIKE 'audit\\_log\\_%'
"""


async def test_what_a_reader_looks_at_is_what_is_new(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(await make.slot(max_bookings=2))
    for units in range(1, 400):
        await conn.execute("UPDATE bookings SET units = $1", units)
    told = await reader(conn)
    await cancel(conn, booking_id, p_version=400)
    await conn.execute("ANALYZE audit_log")
    # that all are counted that somebody looks at
    assert await conn.fetchval("SELECT count(DISTINCT hash) FROM audit_log") > 400
    await conn.execute("SELECT pg_stat_force_next_flush()")
    before = await conn.fetchval(LOOKED_AT)

    await told.page()

    await conn.execute("SELECT pg_stat_force_next_flush()")
    assert before > 400
    assert await conn.fetchval(LOOKED_AT) - before < 10
