"""What the table itself refuses, whoever writes."""

from datetime import timedelta
from itertools import product

import asyncpg
import pytest

from tests.factories import HOUR, TOMORROW, Factory
from tests.sql.support import TICK, cancel, move, one, raw_booking, violates

ALLOWED_PAYMENTS = {
    ("pay_on_arrival", "pending"),
    ("pay_on_arrival", "paid"),
    ("pay_now", "pending"),
    ("pay_now", "paid"),
    ("pay_now", "failed"),
    ("pay_now", "refunded"),
}
TIMES = """
    SELECT b.starts_at, b.ends_at, j.run_at, j.scheduled_at FROM bookings b JOIN jobs j ON j.booking_id = b.id
    WHERE j.status = 'pending'
"""


async def test_only_sensible_payments_are_stored(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=20)
    methods, statuses = ("pay_on_arrival", "pay_now", "barter"), ("pending", "paid", "failed", "refunded", "stolen")

    for method, status in product(methods, statuses):
        if (method, status) in ALLOWED_PAYMENTS:
            await raw_booking(conn, slot_id, payment_method=method, payment_status=status)
        else:
            with violates("bookings_payment_check"):
                await raw_booking(conn, slot_id, payment_method=method, payment_status=status)

    assert await conn.fetchval("SELECT count(*) FROM bookings") == len(ALLOWED_PAYMENTS)


async def test_a_booking_is_placed_before_its_slot_starts(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=TOMORROW, max_bookings=2)

    with violates("bookings_not_in_past_check"):
        await raw_booking(conn, slot_id, placed_at=TOMORROW)
    await raw_booking(conn, slot_id, placed_at=TOMORROW - TICK)


async def test_a_raw_insert_into_a_past_slot_is_refused_unless_it_was_imported(
    make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(starts_at=TOMORROW - timedelta(days=9))

    with violates("bookings_not_in_past_check"):
        await raw_booking(conn, slot_id)
    await raw_booking(conn, slot_id, external_id="old-1")


async def test_a_booking_cannot_move_to_a_slot_that_had_begun_when_it_was_placed(
    make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = await make.booking()
    past_slot = await make.slot(starts_at=TOMORROW - timedelta(days=9))

    with violates("bookings_not_in_past_check"):
        await move(conn, booking_id, past_slot)


async def test_a_hold_needs_an_end(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=2)

    with violates("bookings_hold_check"):
        await raw_booking(conn, slot_id, status="pending")
    await raw_booking(conn, slot_id, status="pending", expires_at=TOMORROW)
    with violates("bookings_hold_check"):
        await conn.execute("UPDATE bookings SET expires_at = NULL")


async def test_moving_a_slot_carries_its_bookings_and_their_jobs_along(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(starts_at=TOMORROW)
    booking_id = await make.booking(slot_id)

    await conn.execute("UPDATE slots SET starts_at = starts_at + $1, ends_at = ends_at + $2", HOUR, 3 * HOUR)

    assert await one(conn, TIMES) == (TOMORROW + HOUR, TOMORROW + 4 * HOUR, TOMORROW + 4 * HOUR, TOMORROW + 4 * HOUR)
    assert await conn.fetchval("SELECT version FROM bookings WHERE id = $1", booking_id) == 2
    await cancel(conn, booking_id, p_version=2)


async def test_moving_a_slot_leaves_the_end_of_a_hold_where_it_was(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking(await make.slot(starts_at=TOMORROW), p_payment_method="pay_now")
    expires_at = await conn.fetchval("SELECT expires_at FROM bookings")

    await conn.execute("UPDATE slots SET starts_at = starts_at + $1, ends_at = ends_at + $1", HOUR)

    assert await one(conn, TIMES) == (TOMORROW + HOUR, TOMORROW + 2 * HOUR, expires_at, expires_at)


@pytest.mark.parametrize(
    "change", ["starts_at = starts_at - interval '1 minute'", "ends_at = ends_at + interval '1 minute'"]
)
async def test_a_bookings_times_are_its_slots(make: Factory, conn: asyncpg.Connection, change: str) -> None:
    await make.booking()

    with violates("bookings_slot_fkey"):
        await conn.execute(f"UPDATE bookings SET {change}")


async def test_a_bookings_resource_is_its_slots(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()
    other = await make.resource("Court")

    with violates("bookings_slot_fkey"):
        await conn.execute("UPDATE bookings SET resource_id = $1", other)


@pytest.mark.parametrize("units", [-1, 0, 10_001])
async def test_units_are_a_sensible_number(make: Factory, conn: asyncpg.Connection, units: int) -> None:
    with violates("bookings_units_check"):
        await raw_booking(conn, await make.slot(), units=units)


async def test_a_status_is_one_of_seven(make: Factory, conn: asyncpg.Connection) -> None:
    with violates("bookings_status_check"):
        await raw_booking(conn, await make.slot(), status="active")


async def test_metadata_is_an_object(make: Factory, conn: asyncpg.Connection) -> None:
    with violates("bookings_metadata_check"):
        await raw_booking(conn, await make.slot(), metadata="[1]")


async def test_an_external_id_and_a_reference_name_one_booking(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=3)
    await raw_booking(conn, slot_id, external_id="old-1", reference="ABC")

    with violates("bookings_external_id_key"):
        await raw_booking(conn, slot_id, external_id="old-1")
    with violates("bookings_reference_key"):
        await raw_booking(conn, slot_id, reference="ABC")


async def test_a_slot_has_room_and_lasts(make: Factory) -> None:
    with violates("slots_interval_check"):
        await make.slot(minutes=0)
    with violates("slots_max_bookings_check"):
        await make.slot(max_bookings=0)
    with violates("slots_max_units_check"):
        await make.slot(max_units=0)


async def test_a_resource_has_one_slot_for_the_same_times(make: Factory) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id, starts_at=TOMORROW)

    with violates("slots_resource_id_starts_at_ends_at_key"):
        await make.slot(resource_id, starts_at=TOMORROW)


async def test_a_job_is_settled_exactly_when_it_has_a_time_of_settling(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()

    with violates("jobs_processed_at_check"):
        await conn.execute("UPDATE jobs SET status = 'processed'")
    with violates("jobs_processed_at_check"):
        await conn.execute("UPDATE jobs SET processed_at = now()")


async def test_a_booking_has_one_pending_job_of_a_kind(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()

    with violates("jobs_pending_key"):
        await conn.execute(
            """INSERT INTO jobs (job_type, dedupe_key, scheduled_at, run_at)
            SELECT job_type, dedupe_key, now(), now() FROM jobs"""
        )
