"""Everything anybody may do to the engine, each chosen by three small numbers, so that a failure shrinks.

A move picks what it is about from what is there, and calls one function or writes one raw statement.
"""

import json
from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from tests.factories import ACTOR, SYSTEM, change_booking, create_booking
from tests.sql.schedules import put_exception, put_schedule
from tests.sql.support import call_row, call_value

NOTHING = "nothing to do"
LIVE = ("pending", "confirmed")
HOURS = (("09:00", "12:00"), ("09:00", "10:30"), ("08:00", "14:00"), ("10:00", "11:00"))
ZONES = ("UTC", "Asia/Tokyo", "America/New_York")
METHODS = ("pay_on_arrival", "pay_now")


class Clock:
    """A time that only ever goes forward; no two calls have the same."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def tick(self, by: timedelta = timedelta(microseconds=1)) -> datetime:
        self.now += by
        return self.now


class Moves:
    """One connection and what can be done with it."""

    def __init__(self, conn: asyncpg.Connection, clock: Clock, resources: list[UUID]) -> None:
        self.conn = conn
        self.clock = clock
        self.resources = resources

    async def slot(self, number: int, where: str = "true") -> asyncpg.Record | None:
        """One of the next slots that are not over: few, so that everybody meets."""
        slots = await self.conn.fetch(
            f"""SELECT s.id, s.resource_id FROM slots s WHERE s.ends_at > $1 AND s.resource_id = ANY ($2) AND {where}
            ORDER BY s.starts_at, s.ends_at, s.resource_id LIMIT 6""",
            self.clock.now,
            self.resources,
        )
        return slots[number % len(slots)] if slots else None

    async def booking(self, number: int, *statuses: str) -> asyncpg.Record | None:
        """One of the bookings with such a status, the newest first; where they lost their place, before it is over."""
        bookings = await self.conn.fetch(
            """SELECT id, version, slot_id FROM bookings WHERE status = ANY ($1) AND resource_id = ANY ($2)
              AND (status <> 'expired' OR starts_at > $3)
            ORDER BY created_at DESC, reference LIMIT 20""",
            statuses,
            self.resources,
            self.clock.now,
        )
        return bookings[number % len(bookings)] if bookings else None

    async def change(self, function: str, booking: asyncpg.Record | None, **overrides: Any) -> str | None:
        """One call that changes that booking, as the caller has just read it."""
        if booking is None:
            return NOTHING
        await change_booking(
            self.conn, function, booking["id"], booking["version"], p_now=self.clock.tick(), **overrides
        )
        return None

    async def book(self, a: int, b: int, c: int, method: str = "pay_on_arrival") -> str | None:
        slot = await self.slot(a)
        if slot is None:
            return NOTHING
        await create_booking(
            self.conn,
            slot["id"],
            p_customer=customer(b, c),
            p_units=1 + c % 2,
            p_payment_method=method,
            p_idempotency_key=f"{a}-{b}" if c % 3 == 0 else None,
            p_request_hash=bytes([c % 2]) if c % 3 == 0 else None,
            p_now=self.clock.tick(),
        )
        return None

    async def hold(self, a: int, b: int, c: int) -> str | None:
        return await self.book(a, b, c, "pay_now")

    async def cancel(self, a: int, b: int, _: int) -> str | None:
        # with a reason, an admin passes over the cut-off
        return await self.change(
            "cancel_booking", await self.booking(a, *LIVE, "completed"), p_reason="asked" if b % 2 else None
        )

    async def reschedule(self, a: int, b: int, c: int) -> str | None:
        slot = await self.slot(b)
        return await self.change(
            "reschedule_booking",
            slot and await self.booking(a, *LIVE),
            p_slot_id=slot and slot["id"],
            p_reason="asked" if c % 2 else None,
        )

    async def pay(self, a: int, b: int, _: int) -> str | None:
        outcome = ("paid", "paid", "failed", "refunded")[b % 4]
        return await self.change("record_payment", await self.booking(a, *LIVE), p_payment_status=outcome)

    async def pay_late(self, a: int, b: int, _: int) -> str | None:
        booking = await self.booking(a, "expired")
        if b % 2:
            return await self.change("confirm_booking", booking)
        return await self.change("record_payment", booking, p_payment_status="paid")

    async def tell_payment(self, a: int, b: int, c: int) -> str | None:
        booking = await self.booking(a, "pending", "expired", "confirmed", "cancelled")
        if booking is None:
            return NOTHING
        await call_value(
            self.conn,
            "record_payment_event",
            p_actor=SYSTEM,
            p_event_id=f"evt-{b}-{c}",
            p_event_type="told",
            p_booking_id=booking["id"],
            p_payment_status=("paid", "failed", "refunded", None)[c % 4],
            p_now=self.clock.tick(),
        )
        return None

    async def miss(self, a: int, _b: int, _c: int) -> str | None:
        return await self.change("mark_no_show", await self.booking(a, "confirmed", "completed"))

    async def batch(self, a: int, b: int, c: int) -> str | None:
        slots = [slot for number in (a, b, c)[: 2 + c % 2] if (slot := await self.slot(number))]
        if not slots:
            return NOTHING
        await call_row(
            self.conn,
            "create_bookings_safe",
            p_actor=ACTOR,
            p_items=json.dumps([{"slot_id": str(slot["id"]), "units": 1, "metadata": {}} for slot in slots]),
            p_customer=customer(b, c),
            p_payment_method=METHODS[a % 2],
            p_now=self.clock.tick(),
        )
        return None

    async def series(self, a: int, b: int, c: int) -> str | None:
        slot = await self.slot(a)
        if slot is None:
            return NOTHING
        await call_row(
            self.conn,
            "create_recurring_bookings",
            p_actor=ACTOR,
            p_slot_id=slot["id"],
            p_customer=customer(b, c),
            p_every_days=1 + b % 2,
            p_count=2 + c % 2,
            p_on_conflict=("refuse", "skip")[c % 2],
            p_now=self.clock.tick(),
        )
        return None

    async def join(self, a: int, b: int, c: int) -> str | None:
        # a line forms where there is no room; every fourth tries somewhere else
        slot = await self.slot(a, "true" if c % 4 == 0 else "s.booked_bookings = s.max_bookings")
        if slot is None:
            return NOTHING
        await call_row(
            self.conn,
            "join_waitlist",
            p_actor=ACTOR,
            p_slot_id=slot["id"],
            p_customer=customer(b, c),
            p_units=1 + c % 2,
            p_payment_method=METHODS[a % 2],
            p_now=self.clock.tick(),
        )
        return None

    async def entry(self, number: int, *statuses: str) -> UUID | None:
        entries = await self.conn.fetch(
            "SELECT id FROM waitlist_entries WHERE status = ANY ($1) ORDER BY place_in_line DESC LIMIT 10", statuses
        )
        return entries[number % len(entries)]["id"] if entries else None

    async def leave(self, a: int, _b: int, _c: int) -> str | None:
        return await self._answer_line("leave_waitlist", await self.entry(a, "waiting", "offered", "cancelled"))

    async def accept(self, a: int, _b: int, _c: int) -> str | None:
        return await self._answer_line("accept_offer", await self.entry(a, "offered", "accepted", "expired"))

    async def _answer_line(self, function: str, entry_id: UUID | None) -> str | None:
        if entry_id is None:
            return NOTHING
        await call_row(self.conn, function, p_actor=ACTOR, p_entry_id=entry_id, p_now=self.clock.tick())
        return None

    async def expire(self, _a: int, _b: int, _c: int) -> str | None:
        return await self._sweep("expire_due_bookings")

    async def complete(self, _a: int, _b: int, _c: int) -> str | None:
        return await self._sweep("complete_due_bookings")

    async def close_lines(self, _a: int, _b: int, _c: int) -> str | None:
        return await self._sweep("close_waitlists")

    async def refresh(self, _a: int, _b: int, _c: int) -> str | None:
        return await self._sweep("refresh_due_schedules", limit=1)

    async def _sweep(self, function: str, limit: int = 20) -> str | None:
        done = await call_value(self.conn, function, p_actor=SYSTEM, p_limit=limit, p_now=self.clock.tick())
        return None if done else NOTHING

    async def schedule(self, a: int, b: int, c: int) -> str | None:
        opens, closes = HOURS[a % len(HOURS)]
        await put_schedule(
            self.conn,
            self.resources[0],
            weekly=[{"weekday": day, "opens": opens, "closes": closes} for day in range(1, 8)],
            slot_minutes=(60, 45, 90)[b % 3],
            max_bookings=1 + c % 3,
            max_units=(None, 2, 4)[(a + c) % 3],
            horizon_days=1 + b % 2,
            max_bookings_per_customer=(None, None, 2)[a % 3],
            cancel_cutoff_minutes=(0, 60)[b % 2],
            p_now=self.clock.tick(),
        )
        return None

    async def exception(self, a: int, b: int, c: int) -> str | None:
        opens, closes = HOURS[b % len(HOURS)]
        hours = (None, [], [{"opens": opens, "closes": closes}])[c % 3]
        await put_exception(self.conn, self.resources[0], self._day(a % 3), hours, p_now=self.clock.tick())
        return None

    def _day(self, after: int) -> date:
        return self.clock.now.date() + timedelta(days=after)

    async def zone(self, a: int, _b: int, _c: int) -> str | None:
        version = await self.conn.fetchval("SELECT version FROM resources WHERE id = $1", self.resources[0])
        await call_row(
            self.conn,
            "update_resource",
            p_actor=ACTOR,
            p_resource_id=self.resources[0],
            p_version=version,
            p_timezone=ZONES[a % len(ZONES)],
            p_now=self.clock.tick(),
        )
        return None

    async def add_slots(self, a: int, b: int, c: int) -> str | None:
        """By hand, in the second resource: in the first they may share time with what the schedule makes."""
        day = self.clock.now.replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=1 + a % 2)
        starts = [day + timedelta(hours=b % 3), day + timedelta(hours=c % 3)]
        slots = [
            {"starts_at": str(start), "ends_at": str(start + timedelta(hours=1)), "max_bookings": 1 + c % 2}
            for start in starts
        ]
        await call_value(
            self.conn,
            "add_slots",
            p_actor=ACTOR,
            p_resource_id=self.resources[1],
            p_slots=json.dumps(slots),
            p_now=self.clock.tick(),
        )
        return None


def customer(b: int, c: int) -> str:
    """One of a few customers, whose name changes now and then."""
    return json.dumps({"ref": f"c-{b % 5}", "name": f"{b} {c % 3}"})


Move = Callable[[int, int, int], Awaitable[str | None]]
