"""list_bookings and list_resources: whole lists in pages, nothing lost and nothing twice."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import HOUR, TOMORROW, Factory
from tests.sql.support import call_json, call_row, call_value, without_indexes

MANY = 50
on_one_connection = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


async def pages(conn: asyncpg.Connection, function: str, **arguments: Any) -> list[list[str]]:
    """The ids on each page, following the cursor to the end."""
    found: list[list[str]] = []
    cursor = None
    while len(found) < MANY:
        page = await call_json(conn, function, p_cursor=cursor, **arguments)
        found.append([item["id"] for item in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            return found
    raise AssertionError(found)


async def bookings_at(make: Factory, *hours: int) -> list[str]:
    """Bookings of one customer, each of another resource, starting at these hours."""
    slots = [await make.slot(starts_at=TOMORROW + hour * HOUR) for hour in hours]
    return [str(await make.booking(slot_id)) for slot_id in slots]


async def test_pages_hold_every_booking_once_by_start_also_where_starts_are_equal(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await bookings_at(make, 3, 1, 2, 1, 1, 3, 1)
    in_order = [str(row["id"]) for row in await conn.fetch("SELECT id FROM bookings ORDER BY starts_at, id")]

    await without_indexes(conn)
    for limit in (1, 2, 3, 7, 8):
        found = await pages(conn, "list_bookings", p_limit=limit)
        assert [booking_id for page in found for booking_id in page] == in_order
        assert {len(page) for page in found[:-1]} <= {limit}
        assert len(found[-1]) > 0


async def test_an_empty_list_is_one_empty_page(conn: asyncpg.Connection) -> None:
    assert await call_json(conn, "list_bookings") == {"items": [], "next_cursor": None}
    assert await call_json(conn, "list_resources") == {"items": [], "next_cursor": None}


async def test_what_comes_in_behind_the_reader_does_not_shift_the_pages(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await bookings_at(make, 5, 6, 7, 8)
    first = await call_json(conn, "list_bookings", p_limit=2)
    (late,) = await bookings_at(make, 1)

    second = await call_json(conn, "list_bookings", p_limit=2, p_cursor=first["next_cursor"])

    ids = [item["id"] for item in first["items"] + second["items"]]
    assert (len(set(ids)), late in ids) == (4, False)


async def test_each_filter_leaves_what_passes_it(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    early = await make.booking(await make.slot(resource_id, starts_at=TOMORROW), p_now=TOMORROW - 9 * HOUR)
    late = await make.booking(
        await make.slot(starts_at=TOMORROW + 5 * HOUR), p_customer='{"ref": "bob"}', p_now=TOMORROW - 8 * HOUR
    )
    held = await make.booking(
        await make.slot(starts_at=TOMORROW + 9 * HOUR), p_payment_method="pay_now", p_now=TOMORROW - 7 * HOUR
    )

    async def passing(**filters: Any) -> list[UUID]:
        return [UUID(item["id"]) for item in (await call_json(conn, "list_bookings", **filters))["items"]]

    assert await passing() == [early, late, held]
    assert await passing(p_status="pending") == [held]
    assert await passing(p_resource_id=resource_id) == [early]
    assert await passing(p_customer_ref="bob") == [late]
    assert await passing(p_customer_ref="nobody") == []
    assert await passing(p_from=TOMORROW + 5 * HOUR) == [late, held]
    assert await passing(p_to=TOMORROW + 5 * HOUR) == [early]
    assert await passing(p_updated_since=TOMORROW - 8 * HOUR) == [late, held]
    assert await passing(p_status="confirmed", p_customer_ref="ann") == [early]
    assert await passing(p_from=TOMORROW, p_to=TOMORROW + 9 * HOUR, p_status="pending") == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"team": "red"}, [0, 1]),
        ({"team": "red", "seats": 4}, [1]),
        ({"tags": ["a"]}, [1]),
        ({"tags": ["b", "a"]}, [1]),
        ({"of": {"club": 7}}, [2]),
        ({}, [0, 1, 2, 3]),
        ({"team": "Red"}, []),
        ({"team": None}, []),
        ({"team": ["red"]}, []),
        ({"seats": "4"}, []),
        ({"club": 7}, []),
    ],
    ids=json.dumps,
)
async def test_a_booking_passes_whose_metadata_contains_all_that_is_given(
    make: Factory, conn: asyncpg.Connection, wanted: dict[str, Any], found: list[int]
) -> None:
    given_metadata = [
        {"team": "red"},
        {"team": "red", "seats": 4, "tags": ["a", "b", "c"]},
        {"of": {"club": 7, "name": "x"}},
        {},
    ]
    made = [str(await make.booking(p_metadata=json.dumps(metadata))) for metadata in given_metadata]

    page = await call_json(conn, "list_bookings", p_metadata=json.dumps(wanted))

    assert [item["id"] for item in page["items"]] == [made[n] for n in found]


async def test_metadata_and_the_other_filters_and_pages_go_together(make: Factory, conn: asyncpg.Connection) -> None:
    red = '{"team": "red"}'
    made = [str(await make.booking(p_metadata=red)) for _ in range(3)]
    await make.booking(p_metadata='{"team": "blue"}')
    await make.booking(p_metadata=red, p_customer='{"ref": "bob"}')

    found = await pages(conn, "list_bookings", p_limit=2, p_customer_ref="ann", p_metadata=red)

    assert found == [made[:2], made[2:]]


async def test_among_many_bookings_the_index_on_metadata_finds_them(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(p_metadata='{"order": -1}')
    # over already: those hold no place, and no trigger has anything to do for them
    await conn.execute(
        """INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status, metadata)
        SELECT b.resource_id, b.slot_id, b.starts_at, b.ends_at, b.customer_id, 'cancelled',
          jsonb_build_object('order', n)
        FROM bookings b, generate_series(1, 5000) n"""
    )
    await conn.execute("ANALYZE bookings")

    async with conn.transaction():
        scans = "SELECT pg_stat_get_xact_numscans('bookings_metadata_idx'::regclass)"
        assert await conn.fetchval(scans) == 0
        page = await call_json(conn, "list_bookings", p_metadata='{"order": -1}')
        assert await conn.fetchval(scans) == 1

    assert [item["id"] for item in page["items"]] == [str(booking_id)]


async def test_filtered_pages_hold_every_match_once(make: Factory, conn: asyncpg.Connection) -> None:
    matches = await bookings_at(make, 1, 1, 2)
    await make.booking(p_customer='{"ref": "bob"}')

    found = await pages(conn, "list_bookings", p_limit=1, p_customer_ref="ann")

    assert sorted(booking_id for page in found for booking_id in page) == sorted(matches)


async def test_an_item_is_the_booking_as_it_reads_alone(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking(p_metadata='{"seat": 4}')

    (item,) = (await call_json(conn, "list_bookings"))["items"]

    assert item == json.loads((await call_row(conn, "get_booking", p_booking_id=booking_id))["body"])


async def test_resources_come_in_order_of_creation_also_where_that_is_one_instant(
    make: Factory, conn: asyncpg.Connection
) -> None:
    ids = [await make.resource(f"Pitch {n}") for n in range(5)]
    await conn.execute("UPDATE resources SET created_at = $1 WHERE id = ANY($2)", TOMORROW, ids[:4])
    in_order = [str(row["id"]) for row in await conn.fetch("SELECT id FROM resources ORDER BY created_at, id")]

    for limit in (1, 2, 5):
        found = await pages(conn, "list_resources", p_limit=limit)
        assert [resource_id for page in found for resource_id in page] == in_order


@on_one_connection
@given(
    instant=st.datetimes(datetime(2000, 1, 1), datetime(2199, 12, 31)).map(lambda d: d.replace(tzinfo=UTC)),  # noqa: DTZ001
    row_id=st.uuids(),
)
async def test_a_cursor_reads_back_exactly(conn: asyncpg.Connection, instant: datetime, row_id: UUID) -> None:
    cursor = await call_value(conn, "make_cursor", p_at=instant, p_id=row_id)

    assert cursor.isalnum()
    assert tuple(await call_row(conn, "read_cursor", p_cursor=cursor)) == (instant, row_id)


@on_one_connection
@given(
    cursor=st.one_of(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
        st.binary(max_size=60).map(bytes.hex),
        st.tuples(st.floats().map(repr), st.text("0123456789abcdef-", max_size=40)).map(
            lambda parts: " ".join(parts).encode().hex()
        ),
    )
)
async def test_any_other_text_is_a_data_exception_or_a_place(conn: asyncpg.Connection, cursor: str) -> None:
    try:
        await call_value(conn, "list_bookings", p_cursor=cursor)
    except asyncpg.DataError as error:
        assert (error.sqlstate or "").startswith("22")  # noqa: PT017 - most texts are refused, some are cursors


@pytest.mark.parametrize("cursor", ["", "zz", "abc", "00", "ff", "31", b"nan 0".hex(), b"1e400 0".hex()])
async def test_a_broken_cursor_is_a_data_exception(conn: asyncpg.Connection, cursor: str) -> None:
    for function in ("list_bookings", "list_resources"):
        with pytest.raises(asyncpg.DataError):
            await call_value(conn, function, p_cursor=cursor)


async def test_a_page_ends_with_the_list_even_when_it_is_exactly_full(make: Factory, conn: asyncpg.Connection) -> None:
    await bookings_at(make, 1, 2)

    assert (await call_json(conn, "list_bookings", p_limit=2))["next_cursor"] is None
    assert (await call_json(conn, "list_bookings", p_to=TOMORROW + timedelta(hours=2)))["next_cursor"] is None
