"""refuse_change: history is append-only, and a booking never vanishes."""

import asyncpg
import pytest

from tests.factories import Factory
from tests.sql.support import refused


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("UPDATE audit_log SET reason = 'nothing happened'", "update"),
        ("DELETE FROM audit_log", "delete"),
        ("DELETE FROM audit_log WHERE false", "delete"),
        ("TRUNCATE audit_log", "truncate"),
    ],
)
async def test_the_trail_is_append_only(
    make: Factory, conn: asyncpg.Connection, statement: str, operation: str
) -> None:
    await make.booking()
    count = await conn.fetchval("SELECT count(*) FROM audit_log")

    with refused("SB012", "change_refused") as refusal:
        await conn.execute(statement)

    assert refusal.detail == {"table": "audit_log", "operation": operation}
    assert await conn.fetchval("SELECT count(*) FROM audit_log") == count


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM bookings",
        "TRUNCATE bookings CASCADE",
        "TRUNCATE slots CASCADE",
        "TRUNCATE resources CASCADE",
    ],
)
async def test_a_booking_never_vanishes(make: Factory, conn: asyncpg.Connection, statement: str) -> None:
    await make.booking()

    with refused("SB012", "change_refused") as refusal:
        await conn.execute(statement)

    assert refusal.detail["table"] in {"bookings", "prebookings"}
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1


async def test_what_a_booking_stands_on_cannot_be_deleted(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()

    for table in ("slots", "customers", "resources"):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await conn.execute(f"DELETE FROM {table}")
