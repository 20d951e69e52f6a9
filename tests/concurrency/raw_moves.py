"""What psql may do to the engine: one raw statement each, in the house's order of locks, slots before bookings."""

from typing import Any

from tests.concurrency.moves import NOTHING, Moves

INSERT = """
    INSERT INTO bookings (
      resource_id, slot_id, starts_at, ends_at, customer_id, status, units, placed_at, created_at, updated_at
    )
    SELECT s.resource_id, s.id, s.starts_at, s.ends_at, c.id, 'confirmed', $2, $3, $3, $3
    FROM slots s, (SELECT id FROM customers ORDER BY ref LIMIT 1) c
    WHERE s.id = $1
"""
CANCEL = """
    UPDATE bookings b
    SET status = 'cancelled', updated_at = $2
    FROM (
      SELECT s.id FROM slots s WHERE s.id = (SELECT x.slot_id FROM bookings x WHERE x.id = $1) FOR NO KEY UPDATE
    ) s
    WHERE b.id = $1 AND b.slot_id = s.id
"""
UNITS = """
    UPDATE bookings b
    SET units = $2, updated_at = $3
    FROM (
      SELECT s.id FROM slots s WHERE s.id = (SELECT x.slot_id FROM bookings x WHERE x.id = $1) FOR NO KEY UPDATE
    ) s
    WHERE b.id = $1 AND b.slot_id = s.id
"""
MOVE = """
    UPDATE bookings b
    SET slot_id = s.id, resource_id = s.resource_id, starts_at = s.starts_at, ends_at = s.ends_at,
        placed_at = $3, updated_at = $3
    FROM slots s
    WHERE b.id = $1 AND b.slot_id = $4 AND s.id = $2
"""


class RawMoves(Moves):
    """The moves of a connection that also writes around every function."""

    async def raw_insert(self, a: int, b: int, _: int) -> str | None:
        slot = await self.slot(a)
        if slot is None:
            return NOTHING
        await self.conn.execute(INSERT, slot["id"], 1 + b % 2, self.clock.tick())
        return None

    async def raw_cancel(self, a: int, _b: int, _c: int) -> str | None:
        booking = await self.booking(a, "pending", "confirmed")
        if booking is None:
            return NOTHING
        await self.conn.execute(CANCEL, booking["id"], self.clock.tick())
        return None

    async def raw_units(self, a: int, b: int, _c: int) -> str | None:
        booking = await self.booking(a, "pending", "confirmed")
        if booking is None:
            return NOTHING
        await self.conn.execute(UNITS, booking["id"], 1 + b % 3, self.clock.tick())
        return None

    async def raw_move(self, a: int, b: int, _c: int) -> str | None:
        slot, booking = await self.slot(b), await self.booking(a, "pending", "confirmed")
        if slot is None or booking is None:
            return NOTHING
        async with self.conn.transaction():
            both: list[Any] = [slot["id"], booking["slot_id"]]
            await self.conn.execute("SELECT FROM slots WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE", both)
            await self.conn.execute(MOVE, booking["id"], slot["id"], self.clock.tick(), booking["slot_id"])
        return None

    async def raw_limits(self, a: int, b: int, c: int) -> str | None:
        slot = await self.slot(a)
        if slot is None:
            return NOTHING
        await self.conn.execute(
            "UPDATE slots SET max_bookings = $2, max_units = $3, updated_at = $4 WHERE id = $1",
            slot["id"],
            1 + b % 4,
            (None, 2, 4)[c % 3],
            self.clock.tick(),
        )
        return None
