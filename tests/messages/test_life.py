"""A booking's life arrives at the customer as docs/messages.md says, once, however often jobs run."""

import json
from datetime import timedelta
from email.message import EmailMessage

import asyncpg
import icalendar
import pytest

from app.database import Database
from app.settings import Settings
from tests.factories import ACTOR, HOUR, TOMORROW, Factory, change_booking, create_booking
from tests.jobs.support import hurry
from tests.messages.support import CUSTOMER, MailServer, SmsProvider, messages, run
from tests.sql.support import call

STARTS = TOMORROW + timedelta(days=3)
SET_REMINDERS = """
    INSERT INTO schedules (resource_id, weekly, slot_minutes, max_bookings, reminder_minutes)
    VALUES ($1, '[]', 60, 1, $2)
"""


def calendar_of(mail: EmailMessage) -> icalendar.Calendar:
    (attachment,) = mail.iter_attachments()
    assert attachment.get_filename() == "booking.ics"
    return icalendar.Calendar.from_ical(attachment.get_content())


@pytest.mark.usefixtures("channels")
async def test_a_booking_is_told_from_hold_to_cancellation(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, mail: MailServer, sms: SmsProvider
) -> None:
    resource_id = await make.resource("Court 1", "Europe/Athens")
    await conn.execute(SET_REMINDERS, resource_id, [1440, 60])
    slots = [await make.slot(resource_id, starts_at=STARTS + n * HOUR) for n in range(2)]
    made = await create_booking(conn, slots[0], p_customer=json.dumps(CUSTOMER), p_payment_method="pay_now")
    booking_id = made["booking_id"]
    await run(database, settings)
    await change_booking(conn, "record_payment", booking_id, 1, p_payment_status="paid")
    await run(database, settings)
    await change_booking(conn, "reschedule_booking", booking_id, 2, p_slot_id=slots[1])
    await run(database, settings)
    for minutes in (1440, 60):
        moment = STARTS + HOUR - timedelta(minutes=minutes)
        assert await conn.fetchval("SELECT remind_due_bookings($1, 100, $2)", ACTOR, moment) == 1
        await hurry(conn)
        await run(database, settings)
    await change_booking(conn, "cancel_booking", booking_id, 3)
    await run(database, settings)

    assert [subject.partition(":")[0] for subject in mail.subjects] == [
        "We keep a place for you",
        "Booked",
        "Moved",
        "Reminder",
        "Reminder",
        "Cancelled",
    ]
    assert len(sms.taken) == 6
    assert {status for _, _, status, _ in await messages(conn)} == {"sent"}
    calendars = [calendar_of(mail.mails[n]) for n in (1, 2, 5)]
    assert [str(each["METHOD"]) for each in calendars] == ["PUBLISH", "PUBLISH", "CANCEL"]
    events = [each.events[0] for each in calendars]
    assert {str(event["UID"]) for event in events} == {f"{booking_id}@holdfast"}
    assert [str(event["SEQUENCE"]) for event in events] == ["2", "3", "4"]
    assert [event.start for event in events] == [STARTS, STARTS + HOUR, STARTS + HOUR]
    assert [str(event["STATUS"]) for event in events] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]


@pytest.mark.usefixtures("by_email")
async def test_a_mail_has_both_forms_for_whom_it_is_and_the_resources_time(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, mail: MailServer
) -> None:
    resource_id = await make.resource("Court <1>", "Europe/Athens")
    slot_id = await make.slot(resource_id, starts_at=STARTS)
    customer = CUSTOMER | {"name": "Ann <b>", "email": "ann@bücher.example"}
    await create_booking(conn, slot_id, p_customer=json.dumps(customer))
    await run(database, settings)

    (told,) = mail.mails
    assert told["To"] == '"Ann <b>" <ann@xn--bcher-kva.example>'
    assert told["From"] == "Courts <bookings@example.com>"
    plain, html = (told.get_body((form,)) for form in ("plain", "html"))
    assert plain is not None
    assert html is not None
    assert "Court <1>" in plain.get_content()
    assert "Court &lt;1&gt;" in html.get_content()
    assert "<b>" not in html.get_content()
    assert "(EES" in plain.get_content() or "(EET" in plain.get_content()


@pytest.mark.usefixtures("channels")
async def test_a_customer_is_told_in_their_language_or_in_the_installations(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, mail: MailServer, sms: SmsProvider
) -> None:
    for ref, language in (("ann", "el-GR"), ("bob", "fr"), ("eve", "../../etc")):
        customer_id = await conn.fetchval(
            "INSERT INTO customers (ref, language) VALUES ($1, $2) RETURNING id", ref, language
        )
        assert customer_id
        await create_booking(conn, await make.slot(), p_customer=json.dumps(CUSTOMER | {"ref": ref}))
        await run(database, settings)

    assert [subject.partition(":")[0] for subject in mail.subjects] == ["Επιβεβαίωση κράτησης", "Booked", "Booked"]
    assert sms.texts[0].startswith("Επιβεβαίωση κράτησης: Pitch")
    assert await conn.fetchval("SELECT array_agg(language ORDER BY id) FROM messages WHERE channel = 'sms'") == [
        "el",
        "en",
        "en",
    ]


@pytest.mark.usefixtures("channels")
async def test_there_is_one_message_for_each_event_and_channel_however_often_its_job_runs(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, mail: MailServer, sms: SmsProvider
) -> None:
    await make.booking(p_customer=json.dumps(CUSTOMER))
    for _ in range(3):
        await run(database, settings)
        # as an operator might, who means well
        await conn.execute(
            """SELECT enqueue_job('send_message', jsonb_build_object('message_id', id, 'channel', channel),
            p_queue => 'messages') FROM messages"""
        )
    await run(database, settings)

    assert (len(mail.mails), len(sms.taken)) == (1, 1)
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE job_type = 'send_message' AND status = 'skipped'") == 6


@pytest.mark.usefixtures("channels")
async def test_what_is_rolled_back_is_told_to_nobody(conn: asyncpg.Connection, make: Factory) -> None:
    slot_id = await make.slot()
    transaction = conn.transaction()
    await transaction.start()
    await create_booking(conn, slot_id, p_customer=json.dumps(CUSTOMER))
    assert len(await messages(conn)) == 2
    await transaction.rollback()

    assert await messages(conn) == []
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE queue = 'messages'") == 0


async def test_while_no_channel_is_enabled_nothing_is_made(conn: asyncpg.Connection, make: Factory) -> None:
    booking_id = await make.booking(p_customer=json.dumps(CUSTOMER))
    await change_booking(conn, "cancel_booking", booking_id, 1)

    assert await messages(conn) == []
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE queue IS NOT NULL") == 0


@pytest.mark.usefixtures("channels")
async def test_who_cannot_or_does_not_want_to_be_reached_has_no_message(
    conn: asyncpg.Connection, make: Factory
) -> None:
    await conn.execute("INSERT INTO customers (ref, email_opt_out, sms_opt_out) VALUES ('ann', true, true)")
    await make.booking(p_customer=json.dumps(CUSTOMER))
    await make.booking(p_customer=json.dumps({"ref": "bob"}))

    assert await messages(conn) == []


@pytest.mark.usefixtures("by_email")
async def test_imported_bookings_were_told_elsewhere(conn: asyncpg.Connection) -> None:
    row = {
        "external_id": "x1",
        "resource": "Pitch",
        "timezone": "UTC",
        "starts_at": STARTS.isoformat(),
        "ends_at": (STARTS + HOUR).isoformat(),
        "status": "confirmed",
        "customer": CUSTOMER,
        "units": 1,
        "payment_method": "pay_on_arrival",
        "payment_status": "pending",
    }
    await call(conn, "import_bookings", p_actor=ACTOR, p_rows=json.dumps([row]))

    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1
    assert await messages(conn) == []
