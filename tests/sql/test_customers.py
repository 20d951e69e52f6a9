"""Customers are found: by list_customers, by whatever is known of them, and by find_customer, by a ref or an id."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.factories import TOMORROW, Factory, make_customer
from tests.sql.support import NOBODY, call_json, call_value, cancel, without_indexes
from tests.sql.test_lists import pages
from tests.sql.test_privacy import erase

MANY = """
    INSERT INTO customers (ref, email, phone)
    SELECT 'c-' || n, 'C' || n || '@Example.com', '+30690' || n FROM generate_series(1, 3000) n
"""


async def found(conn: asyncpg.Connection, **filters: Any) -> list[str]:
    """The names on the first page."""
    return [item["name"] for item in (await call_json(conn, "list_customers", **filters))["items"]]


async def insert(conn: asyncpg.Connection, name: str, hour: int, **columns: str | None) -> UUID:
    """A customer by a raw INSERT, made at that hour of tomorrow."""
    given = {"name": name, "created_at": TOMORROW + timedelta(hours=hour)} | columns
    values = ", ".join(f"${n}" for n in range(1, len(given) + 1))
    query = f"INSERT INTO customers ({', '.join(given)}) VALUES ({values}) RETURNING id"
    return UUID(str(await conn.fetchval(query, *given.values())))


async def test_list_customers_finds_by_whatever_is_known_newest_first(conn: asyncpg.Connection) -> None:
    await insert(conn, "Ann", 1, ref="ann", email="Ann@Example.com", phone="+302101234567")
    await insert(conn, "Ann again", 2, email="ann@example.com")
    await insert(conn, "Bob", 3, ref="bob", phone="+302101234567")
    await insert(conn, "Nobody", 4)

    assert await found(conn) == ["Nobody", "Bob", "Ann again", "Ann"]
    assert await found(conn, p_ref="ann") == ["Ann"]
    assert await found(conn, p_ref="ANN") == []
    assert await found(conn, p_email="ANN@example.COM") == ["Ann again", "Ann"]
    assert await found(conn, p_email="ann@example") == []
    assert await found(conn, p_phone="+302101234567") == ["Bob", "Ann"]
    assert await found(conn, p_phone="302101234567") == []
    assert await found(conn, p_phone="+302101234567", p_email="ann@example.com") == ["Ann"]


async def test_list_customers_says_what_is_stored_and_how_many_bookings_there_are(
    make: Factory, conn: asyncpg.Connection
) -> None:
    ann = '{"ref": "ann", "name": "Ann", "email": "ann@example.com", "phone": "+302101234567"}'
    await cancel(conn, await make.booking(p_customer=ann))
    await make.booking(p_customer=ann)
    await make.booking(p_customer='{"name": "Bob"}')
    stored = json.loads(await conn.fetchval("SELECT to_jsonb(c) - 'erased_at' FROM customers c WHERE ref = 'ann'"))

    bob, ann_found = (await call_json(conn, "list_customers"))["items"]

    assert ann_found == stored | {"bookings": 2}
    assert (bob["ref"], bob["name"], bob["bookings"]) == (None, "Bob", 1)


async def test_whoever_was_erased_is_on_no_page(make: Factory, conn: asyncpg.Connection) -> None:
    for ref in ("ann", "bob"):
        await cancel(conn, await make.booking(p_customer=f'{{"ref": "{ref}", "name": "{ref}"}}'))

    await erase(conn, "ann")

    assert await found(conn) == ["bob"]


async def test_pages_hold_every_customer_once_also_where_they_were_made_in_one_instant(
    conn: asyncpg.Connection,
) -> None:
    for hour in (3, 1, 2, 1, 1):
        await insert(conn, "Ann", hour)
    rows = await conn.fetch("SELECT id::text FROM customers ORDER BY created_at DESC, id DESC")

    await without_indexes(conn)
    for limit in (1, 2, 5, 6):
        in_pages = await pages(conn, "list_customers", p_limit=limit)
        assert [customer_id for page in in_pages for customer_id in page] == [row["id"] for row in rows]
        assert {len(page) for page in in_pages[:-1]} <= {limit}


@pytest.mark.parametrize(
    ("index", "known"),
    [
        ("customers_ref_key", {"p_ref": "c-7"}),
        ("customers_email_idx", {"p_email": "c7@example.com"}),
        ("customers_phone_idx", {"p_phone": "+306907"}),
        ("customers_created_at_id_idx", {}),
    ],
)
async def test_among_many_customers_an_index_finds_them_before_anything_is_known_of_the_table(
    conn: asyncpg.Connection, index: str, known: dict[str, str]
) -> None:
    await conn.execute(f"SET session_replication_role = replica; {MANY}; RESET session_replication_role")

    async with conn.transaction():
        scans = "SELECT pg_stat_get_xact_numscans($1::regclass)"
        before = await conn.fetchval(scans, index)
        page = await call_json(conn, "list_customers", p_limit=1, **known)
        assert await conn.fetchval(scans, index) == before + 1

    assert not known or [item["ref"] for item in page["items"]] == ["c-7"]


async def test_find_customer_takes_a_ref_or_an_id_of_anybody(conn: asyncpg.Connection) -> None:
    ann, guest = await make_customer(conn), await insert(conn, "Guest", 1)

    assert await call_value(conn, "find_customer", p_customer="ann") == ann
    assert await call_value(conn, "find_customer", p_customer=f"id:{ann}") == ann
    assert await call_value(conn, "find_customer", p_customer=f"id:{guest}") == guest
    assert await call_value(conn, "find_customer", p_customer=f"id:{str(guest).upper()}") == guest
    for nobody in ("bob", str(ann), f"id:{NOBODY}", None):
        assert await call_value(conn, "find_customer", p_customer=nobody) is None


async def test_an_id_names_its_own_customer_whatever_somebody_is_called(conn: asyncpg.Connection) -> None:
    other = uuid4()
    short, long = await make_customer(conn, "id:7"), await make_customer(conn, f"id:{other}")

    assert await call_value(conn, "find_customer", p_customer="id:7") == short
    assert await call_value(conn, "find_customer", p_customer=f"id:{other}") is None
    assert await call_value(conn, "find_customer", p_customer=f"id:{long}") == long
