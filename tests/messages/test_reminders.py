"""A reminder never outlives the booking's state: whatever is changed before it goes out, nothing wrong goes out."""

import asyncio
import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.concurrency.rivals import begin, until_waiting
from tests.conftest import Connect
from tests.factories import ACTOR, HOUR, TOMORROW, Factory, change_booking, create_booking
from tests.messages.support import CUSTOMER
from tests.sql.jobs import claim
from tests.sql.support import call_row, call_value

BATCH, BATCHES = 100, 2
RIVALS = 4
# what happened to a booking and to its reminder, while each had the booking's row
WATCH = """
    CREATE TABLE seen (at timestamptz NOT NULL DEFAULT clock_timestamp(), booking_id uuid NOT NULL, what text NOT NULL);
    CREATE FUNCTION see_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT
    AS $$ BEGIN INSERT INTO seen (booking_id, what) VALUES (NEW.id, 'changed'); RETURN NULL; END $$;
    CREATE FUNCTION see_begin() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT
    AS $$ BEGIN INSERT INTO seen (booking_id, what) VALUES (NEW.subject_id, NEW.status); RETURN NULL; END $$;
    CREATE TRIGGER see_change AFTER UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION see_change();
    CREATE TRIGGER see_begin AFTER UPDATE ON messages FOR EACH ROW
    WHEN (NEW.template = 'booking_reminder') EXECUTE FUNCTION see_begin();
"""
WRONG = """
    SELECT count(*) FROM seen s JOIN seen c USING (booking_id)
    WHERE s.what = 'sending' AND c.what = 'changed' AND c.at < s.at
"""


@pytest.fixture
async def reminded(conn: asyncpg.Connection, make: Factory) -> list[UUID]:
    """Bookings whose reminders wait to be sent."""
    await call_value(conn, "put_channel", p_actor=ACTOR, p_name="email", p_is_enabled=True)
    return await remind(conn, make, 1)


async def remind(conn: asyncpg.Connection, make: Factory, count: int) -> list[UUID]:
    resource_id = await make.resource()
    await conn.execute(
        """INSERT INTO schedules (resource_id, weekly, slot_minutes, max_bookings, reminder_minutes)
        VALUES ($1, '[]', 60, 1, '{60}')""",
        resource_id,
    )
    starts_at = TOMORROW + 24 * HOUR
    slot_id = await make.slot(resource_id, starts_at=starts_at, max_bookings=count)
    made = [await create_booking(conn, slot_id, p_customer=json.dumps(CUSTOMER)) for _ in range(count)]
    await conn.execute(
        "UPDATE jobs SET status = 'cancelled', processed_at = now() WHERE queue = 'messages' AND status = 'pending'"
    )
    assert await call_value(conn, "remind_due_bookings", p_actor=ACTOR, p_limit=1000, p_now=starts_at - HOUR) == count
    return [row["booking_id"] for row in made]


async def begin_message(conn: asyncpg.Connection, job: asyncpg.Record) -> asyncpg.Record:
    message_id = UUID(json.loads(job["payload"])["message_id"])
    return await call_row(
        conn, "begin_message", p_message_id=message_id, p_job_id=job["id"], p_lease_token=job["lease_token"]
    )


async def due_messages(conn: asyncpg.Connection, limit: int = 1) -> list[asyncpg.Record]:
    return await claim(conn, limit, queue="messages", now=TOMORROW + 24 * HOUR)


async def test_a_reminder_waits_for_a_change_under_way_and_is_not_sent_after_it(
    conn: asyncpg.Connection, connect: Connect, reminded: list[UUID]
) -> None:
    (job,) = await due_messages(conn)
    rival = await connect()

    async with conn.transaction():
        await change_booking(conn, "cancel_booking", reminded[0], 1)
        (beginning,) = begin([begin_message(rival, job)])
        await until_waiting(await connect(), 1)

    assert (await beginning)["skip_reason"] == "outdated"


async def test_a_change_waits_for_a_reminder_that_is_being_begun(
    conn: asyncpg.Connection, connect: Connect, reminded: list[UUID]
) -> None:
    (job,) = await due_messages(conn)
    rival = await connect()

    async with conn.transaction():
        assert (await begin_message(conn, job))["skip_reason"] is None
        (changing,) = begin([change_booking(rival, "cancel_booking", reminded[0], 1)])
        await until_waiting(await connect(), 1)

    await changing


async def test_in_races_no_reminder_is_begun_after_its_booking_changed(
    conn: asyncpg.Connection, connect: Connect, make: Factory
) -> None:
    await race_reminders(BATCHES, conn, connect, make)


async def race_reminders(batches: int, conn: asyncpg.Connection, connect: Connect, make: Factory) -> None:
    """Cancel and move bookings against their reminders, a hundred a batch."""
    await call_value(conn, "put_channel", p_actor=ACTOR, p_name="email", p_is_enabled=True)
    await conn.execute(WATCH)
    changers = [await connect() for _ in range(RIVALS)]
    senders = [await connect() for _ in range(RIVALS)]
    for _ in range(batches):
        bookings = dict.fromkeys(await remind(conn, make, BATCH))
        free = [await make.slot(max_bookings=BATCH)]
        jobs = {job["booking_id"]: job for job in await due_messages(conn, BATCH)}
        assert jobs.keys() == bookings.keys()
        await race(list(bookings), jobs, free[0], changers, senders)

    begun = await conn.fetchval("SELECT count(*) FROM seen WHERE what = 'sending'")
    skipped = await conn.fetchval("SELECT count(*) FROM messages WHERE reason = 'outdated'")
    assert begun + skipped == BATCH * batches
    # else nothing was raced for
    assert begun > 0
    assert skipped > 0
    assert await conn.fetchval(WRONG) == 0


async def race(
    bookings: list[UUID],
    jobs: dict[UUID, asyncpg.Record],
    free: UUID,
    changers: list[asyncpg.Connection],
    senders: list[asyncpg.Connection],
) -> None:
    """Cancel or move each booking while its reminder is begun, so many at once."""

    async def change(rival: asyncpg.Connection, booking_id: UUID, at: int) -> None:
        given: dict[str, Any] = {"p_slot_id": free} if at % 2 else {}
        await change_booking(rival, "reschedule_booking" if at % 2 else "cancel_booking", booking_id, 1, **given)

    for first in range(0, len(bookings), RIVALS):
        several = bookings[first : first + RIVALS]
        changes = [change(changers[n], each, n) for n, each in enumerate(several)]
        begins = [begin_message(senders[n], jobs[each]) for n, each in enumerate(several)]
        # now these, now those have the start
        await asyncio.gather(*(changes + begins if first % (2 * RIVALS) else begins + changes))
