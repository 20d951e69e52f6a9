"""What is due, completed set-based: bookings a second, with the audit row and the settled job of each."""

import asyncio
import time

import asyncpg

from app.database import Database, open_database
from app.jobs.queries import complete_due_bookings
from app.security import Actor
from app.settings import Settings
from benchmarks.plan import COMPLETION_BATCH, Plan
from benchmarks.seed import add_due_bookings

ACTOR = Actor("system", "benchmark")
CALLERS = (1, 2)

COUNT_COMPLETED = """
SELECT count(*) FROM bookings b
WHERE b.status = 'completed'
  AND EXISTS (SELECT FROM audit_log a WHERE a.subject_type = 'booking' AND a.subject_id = b.id::text
    AND a.event = 'booking.completed' AND a.performed_by_id = 'benchmark')
  AND EXISTS (SELECT FROM jobs j WHERE j.booking_id = b.id AND j.status = 'processed')
"""


async def measure_completion(connection: asyncpg.Connection, settings: Settings, plan: Plan) -> dict[int, list[float]]:
    """Bookings a second for each number of callers, the numbers taking turns.

    Raises RuntimeError unless every due booking came out completed, audited and with its job processed.
    """
    rates: dict[int, list[float]] = {callers: [] for callers in CALLERS}
    async with open_database(settings) as db:
        for number in range(plan.rounds * len(CALLERS)):
            callers = CALLERS[number % len(CALLERS)]
            await add_due_bookings(connection, plan, number)
            await connection.execute("CHECKPOINT")
            rates[callers].append(await _rate(db, callers, plan.due))
    completed = await connection.fetchval(COUNT_COMPLETED)
    if completed != plan.due * plan.rounds * len(CALLERS):
        msg = f"only {completed} bookings are completed, audited and settled"
        raise RuntimeError(msg)
    return rates


async def _rate(db: Database, callers: int, expected: int) -> float:
    began = time.perf_counter()
    done = sum(await asyncio.gather(*(_complete_all(db) for _ in range(callers))))
    elapsed = time.perf_counter() - began
    if done != expected:
        msg = f"{done} of {expected} due bookings were completed"
        raise RuntimeError(msg)
    return done / elapsed


async def _complete_all(db: Database) -> int:
    # until a batch comes back empty: a rival may have held rows that this one skipped
    completed = 0
    while batch := await complete_due_bookings(db, ACTOR, COMPLETION_BATCH):
        completed += batch
    return completed
