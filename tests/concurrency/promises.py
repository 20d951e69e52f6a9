"""What must be true at any moment at rest, recounted from the rows and not from what wrote them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from tests.concurrency.moves import Clock
from tests.concurrency.rivals import assert_counters_equal_a_recount
from tests.sql.support import call_json

FINAL = {"cancelled", "failed", "no_show"}

HOMELESS = """
    SELECT b.id FROM bookings b
    LEFT JOIN slots s
      ON (s.id, s.resource_id, s.starts_at, s.ends_at) = (b.slot_id, b.resource_id, b.starts_at, b.ends_at)
    WHERE s.id IS NULL
"""
UNRECORDED = """
    SELECT b.id, b.version, count(a.id) FROM bookings b
    LEFT JOIN audit_log a ON a.subject_type = 'booking' AND a.subject_id = b.id::text
    GROUP BY b.id HAVING count(a.id) <> b.version
"""
# somebody behind was offered a place, and this one still waits, who wants no more units and never had as many bookings
# as any rules here allow
OVERTAKEN = """
    SELECT w.id FROM waitlist_entries w
    JOIN waitlist_entries later ON later.slot_id = w.slot_id AND later.place_in_line > w.place_in_line
    WHERE w.status = 'waiting' AND later.booking_id IS NOT NULL AND w.units <= later.units
      AND (
        SELECT count(*) FROM bookings b JOIN slots s ON s.id = w.slot_id
        WHERE b.resource_id = s.resource_id AND b.customer_id = w.customer_id
      ) < 2
"""
# a place is free for somebody in the line who may have it, and nobody was told
FORGOTTEN = """
    SELECT w.id FROM waitlist_entries w
    JOIN slots s ON s.id = w.slot_id
    LEFT JOIN schedules c ON c.resource_id = s.resource_id
    WHERE w.status = 'waiting' AND NOT s.is_legacy AND s.starts_at > $1
      AND NOT EXISTS (
        SELECT FROM bookings b
        WHERE b.resource_id = s.resource_id AND b.customer_id = w.customer_id AND b.status IN ('pending', 'confirmed')
        HAVING count(*) >= c.max_bookings_per_customer
      )
      AND s.booked_bookings < s.max_bookings AND w.units <= COALESCE(s.max_units - s.booked_units, w.units)
"""
MADE = """
    SELECT s.resource_id, s.starts_at, s.ends_at, s.is_legacy, s.max_bookings, s.booked_bookings,
      c.max_bookings AS allowed
    FROM slots s JOIN schedules c ON c.resource_id = s.resource_id
    WHERE s.source <> 'manual' AND s.ends_at > $1
"""


class Promises:
    """What one observer checks, with a memory of what it saw before."""

    def __init__(self, conn: asyncpg.Connection, clock: Clock) -> None:
        self.conn = conn
        self.clock = clock
        self.seen: dict[UUID, str] = {}
        self.stock: list[Any] = []

    async def hold(self) -> None:
        """Fail if any promise is broken."""
        report = await call_json(self.conn, "check_invariants")
        assert report["violations"] == []
        await assert_counters_equal_a_recount(self.conn)
        for statement in (HOMELESS, UNRECORDED, OVERTAKEN):
            assert await self.conn.fetch(statement) == [], statement
        assert await self.conn.fetch(FORGOTTEN, self.clock.now) == []
        await self._no_booking_vanished()
        await self._no_time_was_given_twice()

    async def _no_booking_vanished(self) -> None:
        bookings = {row["id"]: row["status"] for row in await self.conn.fetch("SELECT id, status FROM bookings")}
        assert self.seen.keys() <= bookings.keys()
        ended = {key: status for key, status in self.seen.items() if status in FINAL}
        assert ended.items() <= bookings.items()
        self.seen = bookings

    async def take_stock(self) -> None:
        """Remember what the schedule has given out; what comes after may not exceed it."""
        self.stock = await self.conn.fetch(MADE, self.clock.now)

    async def no_time_is_given_twice(self) -> None:
        """Right after rules changed: an open slot leaves room for every booking that shares its time."""
        slots = await self.conn.fetch(MADE, self.clock.now)
        for slot in slots:
            if slot["is_legacy"] or slot["starts_at"] <= self.clock.now:
                continue
            others = _beside(slot, slots)
            taken = slot["booked_bookings"] + others
            assert slot["max_bookings"] + others <= max(slot["allowed"], taken), (slot, others)

    async def _no_time_was_given_twice(self) -> None:
        now = await self.conn.fetch(MADE, self.clock.now)
        for slot in now:
            instant = slot["starts_at"]
            held = _held_at(instant, slot["resource_id"], now)
            assert held <= self._allowed_at(instant, slot), (slot, held)

    def _allowed_at(self, instant: datetime, slot: Any) -> int:
        resource_id = slot["resource_id"]
        allowed = [slot["allowed"], _held_at(instant, resource_id, self.stock)]
        allowed += [
            known["max_bookings"] + _beside(known, self.stock)
            for known in self.stock
            if not known["is_legacy"] and _is_at(instant, resource_id, known)
        ]
        return int(max(allowed))


def _is_at(instant: datetime, resource_id: UUID, slot: Any) -> bool:
    return bool(slot["resource_id"] == resource_id and slot["starts_at"] <= instant < slot["ends_at"])


def _held_at(instant: datetime, resource_id: UUID, slots: list[Any]) -> int:
    return sum(slot["booked_bookings"] for slot in slots if _is_at(instant, resource_id, slot))


def _beside(slot: Any, slots: list[Any]) -> int:
    """The bookings of other slots that share any of its time."""
    return sum(
        other["booked_bookings"]
        for other in slots
        if other is not slot
        and other["resource_id"] == slot["resource_id"]
        and other["starts_at"] < slot["ends_at"]
        and other["ends_at"] > slot["starts_at"]
    )
