"""time_ordered_uuid: ids in the order of their making, which nobody can guess."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import Factory
from tests.sql.support import at, call_value

MOMENTS = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


async def made(conn: asyncpg.Connection, moment: datetime) -> UUID:
    made: UUID = await call_value(conn, "time_ordered_uuid", p_now=moment)
    return made


@given(moment=MOMENTS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_it_is_a_version_7_of_its_millisecond(conn: asyncpg.Connection, moment: datetime) -> None:
    made_then = await made(conn, moment)

    since = moment - at("1970-01-01T00:00")
    assert (made_then.version, made_then.variant) == (7, "specified in RFC 4122")
    assert made_then.int >> 80 == since // timedelta(milliseconds=1)


async def test_a_microsecond_later_it_sorts_later(conn: asyncpg.Connection) -> None:
    begin = at("2030-01-01T00:00") - timedelta(microseconds=500)
    ids = [await made(conn, begin + timedelta(microseconds=n)) for n in range(1000)]

    assert ids == sorted(ids)


async def test_no_two_of_a_moment_are_the_same(conn: asyncpg.Connection) -> None:
    moment = at("2030-01-01T00:00")
    rows = await conn.fetch("SELECT time_ordered_uuid($1) FROM generate_series(1, 1000)", moment)

    assert len(set(rows)) == 1000


async def test_jobs_are_listed_in_the_order_of_their_making(conn: asyncpg.Connection) -> None:
    enqueued = [row[0] for row in await conn.fetch("SELECT enqueue_job('a') FROM generate_series(1, 100)")]

    assert enqueued == sorted(enqueued)


async def test_the_keys_of_what_is_audited_row_by_row_grow_at_their_end(
    conn: asyncpg.Connection, make: Factory
) -> None:
    slot_id = await make.slot(max_bookings=20)
    booked = [await make.booking(slot_id, p_customer=f'{{"ref": "customer-{n}"}}') for n in range(20)]

    customers = [
        row[0] for row in await conn.fetch("SELECT id FROM customers ORDER BY split_part(ref, '-', 2)::integer")
    ]

    assert booked == sorted(booked)
    assert customers == sorted(customers)
