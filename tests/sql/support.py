"""What the SQL tests share: calling a function by name, and expecting a refusal."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.factories import ACTOR, make_customer

TICK = timedelta(microseconds=1)
NOBODY = UUID(int=0)


async def call(conn: asyncpg.Connection, function: str, /, **arguments: Any) -> list[asyncpg.Record]:
    """Rows of a function called with named arguments."""
    named = ", ".join(f"{name} => ${n}" for n, name in enumerate(arguments, start=1))
    return list(await conn.fetch(f"SELECT * FROM {function}({named})", *arguments.values()))


async def call_row(conn: asyncpg.Connection, function: str, /, **arguments: Any) -> asyncpg.Record:
    """The one row it answers."""
    (row,) = await call(conn, function, **arguments)
    return row


async def call_value(conn: asyncpg.Connection, function: str, /, **arguments: Any) -> Any:
    """The one value it answers."""
    return (await call_row(conn, function, **arguments))[0]


async def call_json(conn: asyncpg.Connection, function: str, /, **arguments: Any) -> Any:
    """The one JSON value it answers, read."""
    return json.loads(await call_value(conn, function, **arguments))


async def cancel(conn: asyncpg.Connection, booking_id: UUID, **overrides: Any) -> asyncpg.Record:
    """cancel_booking, as the API calls it."""
    arguments = {"p_actor": ACTOR, "p_booking_id": booking_id, "p_version": 1} | overrides
    return await call_row(conn, "cancel_booking", **arguments)


async def raw_booking(conn: asyncpg.Connection, slot_id: UUID, **columns: Any) -> UUID:
    """A booking of a new customer by a raw INSERT of these columns, around every function."""
    given = {"customer_id": await make_customer(conn, uuid4().hex), "status": "confirmed"} | columns
    if given["status"] != "pending":
        # only a hold has one
        given.pop("expires_at", None)
    values = ", ".join(f"${n}" for n in range(2, len(given) + 2))
    insert = f"""
        INSERT INTO bookings (slot_id, resource_id, starts_at, ends_at, {", ".join(given)})
        SELECT s.id, s.resource_id, s.starts_at, s.ends_at, {values} FROM slots s WHERE s.id = $1
        RETURNING id
    """
    return UUID(str(await conn.fetchval(insert, slot_id, *given.values())))


async def move(conn: asyncpg.Connection, booking_id: UUID, slot_id: UUID) -> None:
    """Put a booking into another slot by a raw UPDATE."""
    await conn.execute(
        """UPDATE bookings b
        SET slot_id = s.id, resource_id = s.resource_id, starts_at = s.starts_at, ends_at = s.ends_at
        FROM slots s WHERE b.id = $1 AND s.id = $2""",
        booking_id,
        slot_id,
    )


async def without_indexes(conn: asyncpg.Connection) -> None:
    """Read tables in the order they lie in, so that an order comes from the query and not from its plan."""
    for scan in ("indexscan", "indexonlyscan", "bitmapscan"):
        await conn.execute(f"SET enable_{scan} TO off")


class Refusal:
    """What a refused statement said."""

    detail: dict[str, Any]


@contextmanager
def refused(sqlstate: str, slug: str = "") -> Iterator[Refusal]:
    """Expect exactly that SQLSTATE (with that message, in our own class) from the block."""
    refusal = Refusal()
    with pytest.raises(asyncpg.PostgresError) as error:
        yield refusal
    assert error.value.sqlstate == sqlstate, error.value
    if sqlstate.startswith("SB"):
        assert error.value.message == slug
        refusal.detail = json.loads(error.value.detail or "{}")


@contextmanager
def violates(constraint: str) -> Iterator[None]:
    """Expect the block to break that constraint."""
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as error:
        yield
    assert error.value.constraint_name == constraint


async def one(conn: asyncpg.Connection, query: str, *arguments: Any) -> tuple[Any, ...]:
    """The one row of a query."""
    (row,) = await conn.fetch(query, *arguments)
    return tuple(row)


async def occupancy(conn: asyncpg.Connection, slot_id: UUID) -> tuple[Any, ...]:
    """The places and units that a slot counts as taken."""
    return await one(conn, "SELECT booked_bookings, booked_units FROM slots WHERE id = $1", slot_id)


async def status_of(conn: asyncpg.Connection, booking_id: UUID) -> str:
    """A booking's status."""
    return str(await conn.fetchval("SELECT status FROM bookings WHERE id = $1", booking_id))


async def jobs_of(conn: asyncpg.Connection, booking_id: UUID) -> dict[str, str]:
    """The jobs of a booking: type -> status."""
    rows = await conn.fetch("SELECT job_type, status FROM jobs WHERE booking_id = $1 ORDER BY created_at", booking_id)
    return {row["job_type"]: row["status"] for row in rows}


def at(text: str) -> datetime:
    """The instant that `text` names, in UTC where it names no offset."""
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
