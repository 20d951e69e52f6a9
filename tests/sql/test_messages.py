"""Messages in the database: which are made, when they may go out, and what became of them.

What triggers call, make_event_messages and bookings_sync_reminders, is called here by whoever books.
"""

import json
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.factories import ACTOR, Factory, change_booking, create_booking
from tests.sql.jobs import HOUR, MINUTE, claim, settle
from tests.sql.support import at, call, call_json, call_row, call_value, one, refused, violates

CUSTOMER = json.dumps({"ref": "ann", "email": "ann@example.com", "phone": "+306912345678"})
NIGHT = (time(22), time(8))


@pytest.fixture
async def email(conn: asyncpg.Connection) -> None:
    """Messages go out by email alone."""
    await call(conn, "put_channel", p_actor=ACTOR, p_name="email", p_is_enabled=True)


async def claimed(conn: asyncpg.Connection) -> tuple[UUID, asyncpg.Record]:
    """The one message that waits, and its job, claimed."""
    now = await conn.fetchval("SELECT clock_timestamp()")
    (job,) = await claim(conn, queue="messages", now=now)
    return UUID(json.loads(job["payload"])["message_id"]), job


async def begin(conn: asyncpg.Connection, message_id: UUID, job: asyncpg.Record, **overrides: Any) -> asyncpg.Record:
    held = {"p_message_id": message_id, "p_job_id": job["id"], "p_lease_token": job["lease_token"]}
    return await call_row(conn, "begin_message", **held, **overrides)


async def end(conn: asyncpg.Connection, message_id: UUID, job: asyncpg.Record, status: str, **more: Any) -> None:
    held = {"p_message_id": message_id, "p_job_id": job["id"], "p_lease_token": job["lease_token"]}
    await call(conn, "end_message", **held, p_status=status, **more)


async def state(conn: asyncpg.Connection) -> tuple[Any, ...]:
    return await one(conn, "SELECT status, reason FROM messages")


@pytest.mark.parametrize(
    ("event", "values", "told"),
    [
        ("booking.created", {"status": "confirmed"}, "booking_confirmed"),
        ("booking.created", {"status": "pending"}, "booking_held"),
        ("booking.created", {"status": "confirmed", "external_id": "x"}, None),
        ("booking.confirmed", {}, "booking_confirmed"),
        ("booking.rescheduled", {}, "booking_rescheduled"),
        ("booking.cancelled", {}, "booking_cancelled"),
        ("booking.expired", {}, "booking_expired"),
        ("booking.failed", {}, "booking_expired"),
        ("booking.completed", {}, None),
        ("booking.no_show", {}, None),
        ("booking.modified", {}, None),
        ("prebooking.succeeded", {"provider": "gametime"}, "prebooking_succeeded"),
        ("prebooking.succeeded", {}, None),
        ("prebooking.failed", {"needs_attention": False}, "prebooking_failed"),
        ("prebooking.failed", {"needs_attention": True}, None),
    ],
)
async def test_which_changes_are_told(
    conn: asyncpg.Connection, event: str, values: dict[str, Any], told: str | None
) -> None:
    assert await call_value(conn, "message_template", p_event=event, p_values=json.dumps(values)) == told


@pytest.mark.usefixtures("email")
async def test_a_key_has_one_message_a_channel(conn: asyncpg.Connection, make: Factory) -> None:
    booking_id = await make.booking(p_customer=CUSTOMER)
    customer_id, starts_at = await one(conn, "SELECT customer_id, starts_at FROM bookings WHERE id = $1", booking_id)
    given = {
        "p_template": "booking_reminder",
        "p_customer_id": customer_id,
        "p_subject_type": "booking",
        "p_subject_id": booking_id,
        "p_dedupe_key": "once",
        "p_told_status": "confirmed",
        "p_told_starts_at": starts_at,
    }
    for _ in range(3):
        await call(conn, "make_messages", **given)

    assert await conn.fetchval("SELECT count(*) FROM messages WHERE dedupe_key = 'once'") == 1
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE job_type = 'send_message'") == 2


# 2030-03-31 at 01:00 UTC Athens goes from 03:00 to 04:00; 2030-10-27 at 01:00 UTC from 04:00 back to 03:00
@pytest.mark.parametrize(
    ("zone", "hours", "now", "until"),
    [
        ("UTC", NIGHT, "2030-06-03T21:59", None),
        ("UTC", NIGHT, "2030-06-03T22:00", "2030-06-04T08:00"),
        ("UTC", NIGHT, "2030-06-04T07:59", "2030-06-04T08:00"),
        ("UTC", NIGHT, "2030-06-04T08:00", None),
        ("UTC", (time(13), time(15)), "2030-06-03T14:00", "2030-06-03T15:00"),
        ("UTC", (time(13), time(15)), "2030-06-03T16:00", None),
        ("UTC", (time(0), time(0)), "2030-06-03T00:00", None),
        ("Europe/Athens", NIGHT, "2030-06-03T19:00", "2030-06-04T05:00"),
        ("America/New_York", NIGHT, "2030-06-03T19:00", None),
        # the night in which an hour is missing, and the one that has one more
        ("Europe/Athens", NIGHT, "2030-03-30T20:00", "2030-03-31T05:00"),
        ("Europe/Athens", NIGHT, "2030-10-26T19:00", "2030-10-27T06:00"),
        # an end that the clocks skip, and one that they show twice
        ("Europe/Athens", (time(22), time(3, 30)), "2030-03-30T22:00", "2030-03-31T01:30"),
        ("Europe/Athens", (time(22), time(3, 30)), "2030-10-26T23:00", "2030-10-27T01:30"),
    ],
)
async def test_it_is_quiet_by_the_clocks_of_the_zone(
    conn: asyncpg.Connection, zone: str, hours: tuple[time, time], now: str, until: str | None
) -> None:
    found = await call_value(conn, "quiet_until", p_timezone=zone, p_from=hours[0], p_to=hours[1], p_now=at(now))

    assert found == (at(until) if until else None)


@pytest.mark.usefixtures("email")
async def test_what_is_about_to_be_sent_is_on_record_before(conn: asyncpg.Connection, make: Factory) -> None:
    booking_id = await make.booking(p_customer=CUSTOMER)
    message_id, job = await claimed(conn)

    first = await begin(conn, message_id, job)
    assert await state(conn) == ("sending", None)
    again = await begin(conn, message_id, job)
    await end(conn, message_id, job, "sent", p_provider_ref="<1@x>", p_language="en")

    body = json.loads(first["body"])
    assert (first["skip_reason"], first["is_unclear"], again["is_unclear"]) == (None, False, True)
    assert (body["customer"]["email"], body["booking"]["id"]) == ("ann@example.com", str(booking_id))
    assert await state(conn) == ("sent", None)
    assert await conn.fetchval("SELECT status FROM jobs WHERE id = $1", job["id"]) == "processed"


@pytest.mark.usefixtures("email")
async def test_who_lost_the_lease_neither_begins_nor_ends(conn: asyncpg.Connection, make: Factory) -> None:
    await make.booking(p_customer=CUSTOMER)
    message_id, job = await claimed(conn)
    stale = {"id": job["id"], "lease_token": job["lease_token"] - 1}

    with refused("SB020", "lease_lost"):
        await begin(conn, message_id, stale)  # type: ignore[arg-type]
    for status in ("sent", "pending"):
        with refused("SB020", "lease_lost"):
            await end(conn, message_id, stale, status)  # type: ignore[arg-type]
    assert await state(conn) == ("pending", None)


@pytest.mark.usefixtures("email")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("SELECT cancel_booking($1, b.id, 1) FROM bookings b", "outdated"),
        ("UPDATE customers SET email_opt_out = true WHERE $1::text <> ''", "opted_out"),
        ("UPDATE customers SET email = NULL WHERE $1::text <> ''", "no_address"),
        ("SELECT put_channel($1, 'email', false)", "channel_disabled"),
    ],
)
async def test_a_message_that_would_be_wrong_or_unwelcome_is_skipped(
    conn: asyncpg.Connection, make: Factory, change: str, reason: str
) -> None:
    await make.booking(p_customer=CUSTOMER)
    message_id, job = await claimed(conn)
    await conn.execute(change, ACTOR)

    assert (await begin(conn, message_id, job))["skip_reason"] == reason
    assert await one(conn, "SELECT status, reason FROM messages WHERE id = $1", message_id) == ("skipped", reason)
    assert await conn.fetchval("SELECT message_reason(m) FROM messages m WHERE id = $1", message_id) == reason


@pytest.mark.usefixtures("email")
async def test_a_hold_that_is_over_is_not_told_of(conn: asyncpg.Connection, make: Factory) -> None:
    await make.booking(p_customer=CUSTOMER, p_payment_method="pay_now")
    message_id, job = await claimed(conn)
    later = await conn.fetchval("SELECT max(expires_at) FROM bookings")

    assert (await begin(conn, message_id, job, p_now=later))["skip_reason"] == "too_late"


@pytest.mark.usefixtures("email")
async def test_a_confirmation_waits_for_no_morning_and_what_it_says_of_it_holds_no_more_than_it_needs(
    conn: asyncpg.Connection, make: Factory
) -> None:
    await make.booking(p_customer=CUSTOMER, p_metadata='{"secret": "of the frontend"}')
    message_id, job = await claimed(conn)
    always = {"p_quiet_from": time(0), "p_quiet_to": time(23, 59, 59)}

    begun = await begin(conn, message_id, job, **always)

    assert begun["wait_until"] is None
    assert "of the frontend" not in begun["body"]
    body = await conn.fetchval("SELECT message_body(m) FROM messages m")
    assert json.loads(body) == json.loads(begun["body"])


async def test_an_sms_waits_for_the_morning_of_the_customer(conn: asyncpg.Connection, make: Factory) -> None:
    await call(conn, "put_channel", p_actor=ACTOR, p_name="sms", p_is_enabled=True)
    await call(conn, "put_preferences", p_actor=ACTOR, p_customer_ref="ann", p_timezone="Pacific/Auckland")
    await make.booking(p_customer=CUSTOMER)
    message_id, job = await claimed(conn)
    # ten in the evening in New Zealand's winter
    night = at("2030-06-03T10:00")

    begun = await begin(conn, message_id, job, p_quiet_from=NIGHT[0], p_quiet_to=NIGHT[1], p_now=night)

    assert begun["wait_until"] == at("2030-06-03T20:00")
    assert await state(conn) == ("pending", None)


@pytest.mark.usefixtures("email")
async def test_a_message_whose_job_is_over_without_it_has_failed(conn: asyncpg.Connection, make: Factory) -> None:
    await make.booking(p_customer=CUSTOMER)
    now = await conn.fetchval("SELECT clock_timestamp()")
    later = now + 2 * MINUTE

    assert await call_value(conn, "sweep_messages", p_limit=10, p_now=later) == 0
    _, job = await claimed(conn)
    assert await call_value(conn, "sweep_messages", p_limit=10, p_now=later) == 0
    await settle(conn, job, "permanent", now=now)
    assert await call_value(conn, "sweep_messages", p_limit=10, p_now=now) == 0
    assert await call_value(conn, "sweep_messages", p_limit=10, p_now=later) == 1
    assert await state(conn) == ("failed", "gave_up")


async def test_preferences_are_what_was_put_last(conn: asyncpg.Connection) -> None:
    defaults = {"customer_ref": "ann", "language": None, "timezone": None, "email_opt_out": False, "sms_opt_out": False}
    assert await call_json(conn, "get_preferences", p_customer_ref="ann") == defaults

    given = {"p_language": "el", "p_timezone": "Europe/Athens", "p_email_opt_out": True, "p_sms_opt_out": True}
    for _ in range(2):
        put = await call_json(conn, "put_preferences", p_actor=ACTOR, p_customer_ref="ann", **given)
    back = await call_json(conn, "put_preferences", p_actor=ACTOR, p_customer_ref="ann")

    assert list(put.values()) == ["ann", "el", "Europe/Athens", True, True]
    assert back == defaults
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE subject_type = 'customer'") == 2


async def test_no_writer_stores_a_zone_that_there_is_not(conn: asyncpg.Connection) -> None:
    with refused("22023"):
        await conn.execute("INSERT INTO customers (ref, timezone) VALUES ('ann', 'Nowhere/Land')")


async def test_who_said_stop_is_known_by_number_alone(conn: asyncpg.Connection) -> None:
    number = "+306912345678"
    for wish in (True, True, False):
        await call(conn, "put_sms_opt_out", p_number=number, p_is_opted_out=wish)
        assert await call_value(conn, "is_sms_opted_out", p_number=number) is wish
    await call(conn, "put_sms_opt_out", p_number=number, p_is_opted_out=True)

    assert number not in str(await conn.fetch("SELECT o::text FROM sms_opt_outs o"))


async def test_every_channel_is_listed_and_a_change_is_on_record(conn: asyncpg.Connection) -> None:
    async def enabled() -> dict[str, bool]:
        listed = await call_json(conn, "list_channels")
        return {channel["name"]: channel["is_enabled"] for channel in listed["items"]}

    assert await enabled() == {"email": False, "sms": False}
    for _ in range(2):
        await call(conn, "put_channel", p_actor=ACTOR, p_name="sms", p_is_enabled=True)
    assert await enabled() == {"email": False, "sms": True}
    assert await conn.fetchval("SELECT count(*) FROM audit_log WHERE event LIKE 'message_channel.%'") == 1
    with violates("message_channels_name_check"):
        await call(conn, "put_channel", p_actor=ACTOR, p_name="fax", p_is_enabled=True)


@pytest.mark.usefixtures("email")
async def test_messages_are_listed_page_by_page_without_addresses(conn: asyncpg.Connection, make: Factory) -> None:
    for ref in ("ann", "bob", "ann"):
        await make.booking(p_customer=json.dumps({"ref": ref, "email": f"{ref}@example.com"}))

    first = await call_json(conn, "list_messages", p_limit=2)
    rest = await call_json(conn, "list_messages", p_limit=2, p_cursor=first["next_cursor"])
    of_ann = await call_json(conn, "list_messages", p_customer_ref="ann", p_status="pending")

    assert [item["customer_ref"] for page in (first, rest) for item in page["items"]] == ["ann", "bob", "ann"]
    assert rest["next_cursor"] is None
    assert len(of_ann["items"]) == 2
    assert (await call_json(conn, "list_messages", p_status="sent"))["items"] == []
    assert "@example.com" not in json.dumps(first)


async def reminders(conn: asyncpg.Connection, booking_id: UUID) -> list[datetime]:
    """When the jobs are due that remind of this booking."""
    rows = await conn.fetch(
        "SELECT run_at FROM jobs WHERE booking_id = $1 AND job_type = 'remind_booking' AND status = 'pending'",
        booking_id,
    )
    return [row["run_at"] for row in rows]


STARTS = at("2030-06-10T10:00")
EARLIER = at("2030-06-01T10:00")


async def with_reminders(conn: asyncpg.Connection, make: Factory, *minutes: int) -> list[UUID]:
    """Two slots of a resource with these reminders, an hour apart."""
    resource_id = await make.resource()
    await conn.execute(
        """INSERT INTO schedules (resource_id, weekly, slot_minutes, max_bookings, reminder_minutes)
        VALUES ($1, '[]', 60, 1, $2)""",
        resource_id,
        minutes,
    )
    return [await make.slot(resource_id, starts_at=STARTS + n * HOUR) for n in range(2)]


async def test_a_confirmed_booking_is_reminded_of_at_the_next_of_its_times(
    conn: asyncpg.Connection, make: Factory
) -> None:
    slots = await with_reminders(conn, make, 60, 1440)
    made = await create_booking(conn, slots[0], p_customer=CUSTOMER, p_payment_method="pay_now", p_now=EARLIER)
    booking_id = made["booking_id"]

    assert await reminders(conn, booking_id) == []
    await change_booking(conn, "confirm_booking", booking_id, 1, p_now=EARLIER)
    assert await reminders(conn, booking_id) == [STARTS - 24 * HOUR]
    await change_booking(conn, "reschedule_booking", booking_id, 2, p_slot_id=slots[1], p_now=EARLIER)
    assert await reminders(conn, booking_id) == [STARTS - 23 * HOUR]
    await change_booking(conn, "reschedule_booking", booking_id, 3, p_slot_id=slots[0], p_now=STARTS - 2 * HOUR)
    assert await reminders(conn, booking_id) == [STARTS - HOUR]
    await change_booking(conn, "cancel_booking", booking_id, 4, p_now=STARTS - 2 * HOUR)
    assert await reminders(conn, booking_id) == []


async def test_a_schedule_that_changes_takes_its_reminders_with_it(conn: asyncpg.Connection, make: Factory) -> None:
    (slot_id, _) = await with_reminders(conn, make, 60)
    made = await create_booking(conn, slot_id, p_customer=CUSTOMER, p_now=EARLIER)
    resource_id = await conn.fetchval("SELECT resource_id FROM slots WHERE id = $1", slot_id)
    rules = json.loads(await conn.fetchval("SELECT to_jsonb(c) FROM schedules c"))

    for minutes, due in (([120], [STARTS - 2 * HOUR]), ([], [])):
        given = json.dumps(rules | {"reminder_minutes": minutes})
        await call(conn, "put_schedule", p_actor=ACTOR, p_resource_id=resource_id, p_rules=given, p_now=EARLIER)
        assert await reminders(conn, made["booking_id"]) == due


@pytest.mark.parametrize("minutes", [[0], [525_601], [None], [1, 2, 3, 4, 5, 6]])
async def test_no_writer_stores_reminders_that_are_none(
    conn: asyncpg.Connection, make: Factory, minutes: list[int | None]
) -> None:
    with violates("schedules_reminder_minutes_check"):
        await with_reminders(conn, make, *minutes)  # type: ignore[arg-type]


@pytest.mark.usefixtures("email")
async def test_of_the_reminders_that_were_missed_the_last_is_sent_and_none_after_the_start(
    conn: asyncpg.Connection, make: Factory
) -> None:
    slots = await with_reminders(conn, make, 60, 120, 1440)
    for slot_id in slots:
        await create_booking(conn, slot_id, p_customer=CUSTOMER, p_now=EARLIER)

    # of the first booking all are due, and it has begun; of the second the last hour has come
    assert await call_value(conn, "remind_due_bookings", p_actor=ACTOR, p_limit=10, p_now=STARTS) == 2
    assert await call_value(conn, "remind_due_bookings", p_actor=ACTOR, p_limit=10, p_now=STARTS) == 0

    keys = await conn.fetch("SELECT dedupe_key FROM messages WHERE template = 'booking_reminder'")
    assert [row["dedupe_key"].rpartition("/")[2] for row in keys] == ["60"]
    assert (
        await conn.fetchval("SELECT count(*) FROM jobs WHERE job_type = 'remind_booking' AND status = 'pending'") == 0
    )


@pytest.mark.usefixtures("email")
async def test_a_reminder_that_waited_until_the_start_is_not_sent(conn: asyncpg.Connection, make: Factory) -> None:
    slots = await with_reminders(conn, make, 60)
    await create_booking(conn, slots[0], p_customer=CUSTOMER, p_now=EARLIER)
    await conn.execute("UPDATE jobs SET status = 'cancelled', processed_at = now() WHERE queue = 'messages'")
    await call(conn, "remind_due_bookings", p_actor=ACTOR, p_limit=10, p_now=STARTS - HOUR)
    (job,) = await claim(conn, queue="messages", now=STARTS)
    message_id = UUID(json.loads(job["payload"])["message_id"])

    almost = await begin(conn, message_id, job, p_quiet_from=time(0), p_quiet_to=time(12), p_now=STARTS - MINUTE)
    assert almost["wait_until"] == at("2030-06-10T12:00")
    assert (await begin(conn, message_id, job, p_now=STARTS))["skip_reason"] == "too_late"


async def test_a_reminder_is_armed_by_the_schedule_of_now(conn: asyncpg.Connection, make: Factory) -> None:
    slots = await with_reminders(conn, make, 60)
    made = await create_booking(conn, slots[0], p_customer=CUSTOMER, p_now=EARLIER)
    await conn.execute("UPDATE schedules SET reminder_minutes = '{30}'")

    await conn.execute("SELECT arm_reminder(b, $1) FROM bookings b", EARLIER)

    assert await reminders(conn, made["booking_id"]) == [STARTS - timedelta(minutes=30)]
    assert "booking_job" not in await conn.fetchval("SELECT check_invariants()")
