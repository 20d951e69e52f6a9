"""upsert_customer: the same ref is the same customer, and what is absent stays."""

import json
from uuid import UUID

import asyncpg

from tests.conftest import Connect
from tests.sql.support import call_value, one

ALL = "SELECT ref, name, email, phone FROM customers"


async def upsert(conn: asyncpg.Connection, **customer: str) -> UUID:
    return UUID(str(await call_value(conn, "upsert_customer", p_customer=json.dumps(customer))))


async def test_what_is_given_replaces_and_what_is_absent_stays(conn: asyncpg.Connection) -> None:
    first = await upsert(conn, ref="ann", name="Ann", email="ann@example.com")
    again = await upsert(conn, ref="ann", email="new@example.com", phone="+30 1")
    assert await one(conn, ALL) == ("ann", "Ann", "new@example.com", "+30 1")

    once_more = await upsert(conn, ref="ann", name="Anna")
    assert await one(conn, ALL) == ("ann", "Anna", "new@example.com", "+30 1")

    assert first == again == once_more


async def test_without_a_ref_everyone_is_somebody_new(conn: asyncpg.Connection) -> None:
    one_ann, other_ann = await upsert(conn, name="Ann"), await upsert(conn, name="Ann")

    assert one_ann != other_ann


async def test_a_returning_customer_is_not_written_nor_waited_for(conn: asyncpg.Connection, connect: Connect) -> None:
    await upsert(conn, ref="ann", name="Ann")
    holder = await connect()

    async with holder.transaction():
        # as somebody who amends the customer; the foreign key of a booking would wait for more than that anyway
        await holder.execute("SELECT FROM customers FOR NO KEY UPDATE")
        await conn.execute("SET lock_timeout TO '2s'")
        await upsert(conn, ref="ann")
        await upsert(conn, ref="ann", name="Ann")

    assert await conn.fetchval("SELECT count(*) FROM audit_log") == 1
