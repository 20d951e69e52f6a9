"""Rows to start from: short async functions on a raw connection, with keyword overrides."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from app.security import SHOWN_PREFIX_LENGTH, Scope, hash_token, new_api_key

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(minute=0, second=0, microsecond=0)
HOUR = timedelta(hours=1)
ACTOR = json.dumps({"type": "admin", "id": "tester", "ip": "192.0.2.1", "user_agent": "pytest", "request_id": "r-1"})
SYSTEM = json.dumps({"type": "system", "id": "cron"})


async def make_api_key(conn: asyncpg.Connection, scope: Scope) -> str:
    """A live key of that scope; returns the key itself."""
    key = new_api_key()
    await conn.fetchval(
        "SELECT create_api_key($1, $2, $3, $4, $5)", ACTOR, scope, key[:SHOWN_PREFIX_LENGTH], hash_token(key), [scope]
    )
    return key


class Factory:
    """Makes resources, slots and bookings; each method returns the new row's id."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self.conn = conn
        self._slots = 0

    async def resource(self, name: str = "Pitch", timezone: str = "UTC") -> UUID:
        """A resource."""
        query = "SELECT resource_id FROM create_resource($1, $2, $3)"
        return UUID(str(await self.conn.fetchval(query, ACTOR, name, timezone)))

    async def slot(
        self,
        resource_id: UUID | None = None,
        *,
        starts_at: datetime | None = None,
        minutes: int = 60,
        max_bookings: int = 1,
        max_units: int | None = None,
    ) -> UUID:
        """A slot; without a start, each comes an hour after the one before."""
        self._slots += 1
        starts_at = starts_at or TOMORROW + self._slots * HOUR
        return UUID(
            str(
                await self.conn.fetchval(
                    """INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings, max_units)
                    VALUES ($1, $2, $3, $4, $5) RETURNING id""",
                    resource_id or await self.resource(),
                    starts_at,
                    starts_at + timedelta(minutes=minutes),
                    max_bookings,
                    max_units,
                )
            )
        )

    async def booking(self, slot_id: UUID | None = None, **overrides: Any) -> UUID:
        """A booking through create_booking_safe, as the API makes one."""
        row = await create_booking(self.conn, slot_id or await self.slot(), **overrides)
        return UUID(str(row["booking_id"]))

    async def ended_bookings(self, count: int = 1) -> None:
        """So many confirmed bookings that ended an hour ago, each with its job due; moves every slot there is."""
        slot_id = await self.slot(max_bookings=count)
        for _ in range(count):
            await self.booking(slot_id)
        await self.conn.execute("UPDATE bookings SET placed_at = now() - interval '4 hours'")
        # the foreign key carries the new times to the bookings, and their trigger to the jobs
        await self.conn.execute(
            "UPDATE slots SET starts_at = now() - $1::interval * 2, ends_at = now() - $1::interval", HOUR
        )


async def create_booking(conn: asyncpg.Connection, slot_id: UUID, **overrides: Any) -> asyncpg.Record:
    """Call create_booking_safe by name, on whichever connection a test races with."""
    arguments = {"p_actor": ACTOR, "p_slot_id": slot_id, "p_customer": '{"ref": "ann"}'} | overrides
    return await _one_row(conn, "create_booking_safe", arguments)


async def change_booking(
    conn: asyncpg.Connection, function: str, booking_id: UUID, version: int, **overrides: Any
) -> asyncpg.Record:
    """Call a function that changes one booking, such as cancel_booking."""
    arguments = {"p_actor": ACTOR, "p_booking_id": booking_id, "p_version": version} | overrides
    return await _one_row(conn, function, arguments)


async def _one_row(conn: asyncpg.Connection, function: str, arguments: dict[str, Any]) -> asyncpg.Record:
    named = ", ".join(f"{name} => ${n}" for n, name in enumerate(arguments, start=1))
    (row,) = await conn.fetch(f"SELECT * FROM {function}({named})", *arguments.values())
    return row


INSERT_BOOKING = """
    INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status, units)
    SELECT s.resource_id, s.id, s.starts_at, s.ends_at, $2, 'confirmed', $3 FROM slots s WHERE s.id = $1
    RETURNING id
"""


async def insert_booking(conn: asyncpg.Connection, slot_id: UUID, customer_id: UUID, units: int = 1) -> UUID:
    """A booking by a raw INSERT, around every function: what an import script or psql would do."""
    return UUID(str(await conn.fetchval(INSERT_BOOKING, slot_id, customer_id, units)))


async def make_customer(conn: asyncpg.Connection, ref: str = "ann") -> UUID:
    """A customer by a raw INSERT."""
    return UUID(str(await conn.fetchval("INSERT INTO customers (ref) VALUES ($1) RETURNING id", ref)))
