"""What the tests of auto-syncs share: crews of so many members, and each function at a time of the test."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from tests.factories import ACTOR, SYSTEM, Factory
from tests.sql.support import at, call, call_json, call_row, call_value

START = at("2030-06-03T09:00")
DAY = timedelta(days=1)
REMINDER = START + DAY
PAUSE = START + 2 * DAY
MEMBERS = ("ann", "bob", "eve")
JOB_TYPES = ("auto_sync_reminder", "auto_sync_pause_check")


def customer(ref: str) -> dict[str, str]:
    return {
        "ref": ref,
        "name": ref.title(),
        "email": f"{ref}@example.com",
        "phone": "+30691234567" + str(len(ref) % 10),
    }


def acting(ref: str) -> str:
    """A customer with a token of their own."""
    return json.dumps({"type": "customer", "id": f"customer:{ref}", "customer_ref": ref})


async def make_crew(conn: asyncpg.Connection, *members: str, organizer: str | None = "org") -> UUID:
    """A crew of these members."""
    given = json.dumps(customer(organizer)) if organizer else None
    crew = await call_json(conn, "create_crew", p_actor=ACTOR, p_name="Football", p_organizer=given, p_now=START)
    for ref in members:
        await join(conn, crew["id"], ref)
    return UUID(crew["id"])


async def join(conn: asyncpg.Connection, crew_id: UUID | str, ref: str, **more: Any) -> Any:
    """The member, who is in the crew from now on."""
    given = {"p_customer": json.dumps(customer(ref)), "p_now": START} | more
    return await call_json(conn, "add_crew_member", p_actor=ACTOR, p_crew_id=crew_id, **given)


async def start(conn: asyncpg.Connection, crew_id: UUID, **overrides: Any) -> Any:
    """An auto-sync of that crew, as the API answers it."""
    given = {"p_event_name": "Five-a-side", "p_timezone": "Europe/Athens", "p_now": START} | overrides
    row = await call_row(conn, "create_auto_sync", p_actor=ACTOR, p_crew_id=crew_id, **given)
    return json.loads(row["body"])


async def started(conn: asyncpg.Connection, **overrides: Any) -> Any:
    """An auto-sync of a crew of three."""
    return await start(conn, await make_crew(conn, *MEMBERS), **overrides)


def two_times() -> str:
    """Two times that are proposed, the first a week after the start."""
    week = START + 7 * DAY
    times = [week, week + DAY]
    return json.dumps([{"starts_at": t.isoformat(), "ends_at": (t + DAY / 24).isoformat()} for t in times])


async def with_slots(make: Factory, count: int = 2) -> tuple[UUID, list[UUID]]:
    """A resource and slots of it, each with one place."""
    resource_id = await make.resource()
    return resource_id, [await make.slot(resource_id, starts_at=START + 7 * DAY + n * DAY) for n in range(count)]


def proposed(slots: Sequence[UUID]) -> str:
    return json.dumps([{"slot_id": str(slot_id)} for slot_id in slots])


async def answer(
    conn: asyncpg.Connection, sync: Any, ref: str, said: str = "accepted", times: Sequence[str] = (), **more: Any
) -> Any:
    """The auto-sync with that member's answer; accepting without times takes all of them."""
    ids = [UUID(t) for t in times or ([t["id"] for t in sync["times"]] if said == "accepted" else [])]
    given = {"p_actor": ACTOR, "p_now": START + DAY / 24} | more
    return await call_json(
        conn, "record_response", p_auto_sync_id=sync["id"], p_customer_ref=ref, p_answer=said, p_times=ids, **given
    )


async def step(conn: asyncpg.Connection, sync: Any, status: str, **more: Any) -> Any:
    """The auto-sync, paused, running again or cancelled."""
    given = {"p_actor": ACTOR, "p_now": START + DAY / 12} | more
    return await call_json(conn, "set_auto_sync_status", p_auto_sync_id=sync["id"], p_status=status, **given)


async def remind(conn: asyncpg.Connection, now: datetime = REMINDER) -> int:
    return int(await call_value(conn, "remind_due_auto_syncs", p_actor=SYSTEM, p_limit=100, p_now=now))


async def pause(conn: asyncpg.Connection, now: datetime = PAUSE) -> int:
    return int(await call_value(conn, "pause_due_auto_syncs", p_actor=SYSTEM, p_limit=100, p_now=now))


async def jobs_of(conn: asyncpg.Connection, sync: Any, *statuses: str) -> list[tuple[Any, ...]]:
    """Its jobs, in the order in which they are due: type, status, when."""
    rows = await conn.fetch(
        """SELECT job_type, status, run_at FROM jobs WHERE dedupe_key = $1 AND job_type = ANY ($2)
        AND (status = ANY ($3) OR $3 = '{}') ORDER BY run_at, created_at""",
        str(sync["id"]),
        JOB_TYPES,
        statuses,
    )
    return [tuple(row) for row in rows]


async def pending(conn: asyncpg.Connection, sync: Any) -> list[tuple[Any, ...]]:
    """What it waits for: type, when."""
    return [(job_type, run_at) for job_type, _, run_at in await jobs_of(conn, sync, "pending")]


async def read(conn: asyncpg.Connection, sync: Any) -> Any:
    return await call_json(conn, "get_auto_sync", p_auto_sync_id=sync["id"])


async def told(conn: asyncpg.Connection, template: str) -> list[str]:
    """Who has a message of that template."""
    rows = await conn.fetch(
        "SELECT c.ref FROM messages m JOIN customers c ON c.id = m.customer_id WHERE template = $1 ORDER BY 1", template
    )
    return [row["ref"] for row in rows]


async def events(conn: asyncpg.Connection) -> list[str]:
    """What happened to auto-syncs, in order."""
    rows = await conn.fetch("SELECT event FROM audit_log WHERE subject_type = 'auto_sync' ORDER BY id")
    return [row["event"].removeprefix("auto_sync.") for row in rows]


async def by_email(conn: asyncpg.Connection) -> None:
    await call(conn, "put_channel", p_actor=ACTOR, p_name="email", p_is_enabled=True)


async def assert_no_violation(conn: asyncpg.Connection) -> None:
    report = await call_json(conn, "check_invariants")
    assert report["violations"] == []
