"""Whether the figures are figures of bookings: what was answered is in the database, whole."""

import asyncpg

from benchmarks.pgbench import ACTOR

UNAUDITED = """
SELECT (SELECT count(*) FROM bookings)
  - (SELECT count(*) FROM audit_log WHERE subject_type = 'booking' AND event = 'booking.created')
"""

MISCOUNTED = """
SELECT count(*)
FROM slots s
LEFT JOIN (SELECT slot_id, count(*) AS held FROM bookings WHERE holds_place GROUP BY slot_id) b ON b.slot_id = s.id
WHERE s.booked_bookings <> COALESCE(b.held, 0)
"""

REMEMBERED = """
SELECT count(*) FROM idempotency_keys k WHERE k.principal <> $1 AND k.response ->> 'status' = 'confirmed'
"""


async def check_books(connection: asyncpg.Connection, answered: int) -> None:
    """Compare the tables with each other and with the `answered` 201s. Raises RuntimeError where they differ."""
    found = {
        "bookings without an audit row": await connection.fetchval(UNAUDITED),
        "slots with a wrong count": await connection.fetchval(MISCOUNTED),
        "201s without a stored answer": answered - await connection.fetchval(REMEMBERED, ACTOR["id"]),
    }
    if any(found.values()):
        msg = f"the benchmark broke the books: {found}"
        raise RuntimeError(msg)
