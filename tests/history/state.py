"""What the database says at rest, read in one snapshot."""

import json
from collections import defaultdict
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

TABLES = {
    "slots": "SELECT id::text, max_bookings, booked_bookings FROM slots",
    "bookings": """SELECT b.id::text, b.slot_id::text, b.status, b.units, b.version, b.ends_at, b.holds_place, c.ref
        FROM bookings b JOIN customers c ON c.id = b.customer_id""",
    "jobs": """SELECT booking_id::text, job_type, scheduled_at FROM jobs
        WHERE status = 'pending' AND job_type IN ('complete_booking', 'expire_booking')""",
    "audit": """SELECT subject_id, old_values, new_values, request_id FROM audit_log
        WHERE subject_type = 'booking' ORDER BY id""",
}


class Change(NamedTuple):
    """One audit row of a booking: before, after, and the request that asked for it."""

    booking_id: str
    before: dict[str, Any] | None
    after: dict[str, Any]
    request_id: str | None


class State(NamedTuple):
    """The rows that bear on promises."""

    now: datetime
    slots: dict[str, asyncpg.Record]
    bookings: dict[str, asyncpg.Record]
    jobs: dict[str, list[asyncpg.Record]]
    changes: list[Change]
    """In the order in which they were made."""

    def changes_of(self) -> dict[str, list[Change]]:
        """The changes of each booking, in order."""
        of: dict[str, list[Change]] = defaultdict(list)
        for change in self.changes:
            of[change.booking_id].append(change)
        return of

    def changes_by_key(self) -> dict[str, list[Change]]:
        """The changes that each intent brought about, by its key."""
        of: dict[str, list[Change]] = defaultdict(list)
        for change in self.changes:
            of[(change.request_id or "").partition(".")[0]].append(change)
        return of


async def read_state(conn: asyncpg.Connection) -> State:
    """The state as of now."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        now = await conn.fetchval("SELECT clock_timestamp()")
        rows = {name: await conn.fetch(query) for name, query in TABLES.items()}
    jobs: dict[str, list[asyncpg.Record]] = defaultdict(list)
    for job in rows["jobs"]:
        jobs[job["booking_id"]].append(job)
    changes = [
        Change(row[0], json.loads(row[1]) if row[1] else None, json.loads(row[2]), row[3]) for row in rows["audit"]
    ]
    return State(
        now, {row["id"]: row for row in rows["slots"]}, {row["id"]: row for row in rows["bookings"]}, jobs, changes
    )
