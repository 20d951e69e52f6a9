"""The sweeps of a run: what one of them meets is not the trouble of the others."""

import asyncpg
from structlog.typing import EventDict

from app.database import open_database
from app.handlers import Ok
from app.jobs.processor import process_jobs
from app.settings import Settings
from tests.conftest import Connect
from tests.factories import Factory
from tests.jobs.support import ACTOR, answers, enqueue, statuses


async def test_a_sweep_that_the_database_refuses_keeps_nothing_else_from_being_done(
    settings: Settings, conn: asyncpg.Connection, connect: Connect, make: Factory, logged: list[EventDict]
) -> None:
    await make.ended_bookings()
    await enqueue(conn)
    await conn.execute(
        "INSERT INTO idempotency_keys VALUES ('p', 'create_booking', 'old', '', '{}', now() - interval '4 days')"
    )
    rival, impatient = await connect(), settings.model_copy(update={"lock_timeout_seconds": 0.1})

    async with open_database(impatient) as database, rival.transaction():
        await rival.execute("LOCK TABLE messages")
        report = await process_jobs(database, ACTOR, [answers(Ok())])

    assert await statuses(conn) == {"processed": 1}
    assert await conn.fetchval("SELECT status FROM bookings") == "completed"
    assert await conn.fetchval("SELECT count(*) FROM idempotency_keys") == 0
    failed = [entry for entry in logged if entry["event"] == "a sweep failed"]
    assert {(entry["sweep"], entry["sqlstate"]) for entry in failed} == {
        ("sweep_messages", "55P03"),
        ("prune_messages", "55P03"),
    }
    assert report.failed_sweeps == len(failed)
