"""What is free: thirty days of a resource, half of it taken, by pgbench and over HTTP in turns."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import asyncpg

from benchmarks.figures import Run
from benchmarks.http import Http
from benchmarks.pgbench import PgBench
from benchmarks.plan import Plan
from benchmarks.schedules import put_schedule

DAYS = 30
# no ETag of ours
UNKNOWN = "none"

TAKE_HALF = """
INSERT INTO bookings (resource_id, slot_id, starts_at, ends_at, customer_id, status)
SELECT s.resource_id, s.id, s.starts_at, s.ends_at, (SELECT id FROM customers LIMIT 1), 'confirmed'
FROM (SELECT *, row_number() OVER (ORDER BY starts_at) AS turn FROM slots WHERE resource_id = $1) s
WHERE s.turn % 2 = 0
"""


@dataclass(frozen=True)
class AvailabilityRuns:
    """The runs of one question, in the order of the rounds."""

    question: str
    pgbench: list[Run] = field(default_factory=list)
    http: list[Run] = field(default_factory=list)


@dataclass(frozen=True)
class Question:
    """What both sides ask."""

    resource_id: str
    starting: datetime

    @property
    def url(self) -> str:
        """As a frontend asks it."""
        given = {"resource_id": self.resource_id, "from": self.starting.isoformat(), "to": self._before.isoformat()}
        return "/v1/available-slots?" + urlencode(given)

    def variables(self, etag: str) -> dict[str, str]:
        """As pgbench asks it."""
        return {
            "resource_id": self.resource_id,
            "from": self.starting.isoformat(),
            "to": self._before.isoformat(),
            "etag": etag.strip('"') or UNKNOWN,
        }

    @property
    def _before(self) -> datetime:
        return self.starting + timedelta(days=DAYS)


async def open_half_taken(connection: asyncpg.Connection) -> Question:
    """A resource that is open 16 hours a day, with half of its slots taken."""
    resource_id, _ = await put_schedule(connection, opens="08:00", slot_minutes=60, horizon_days=DAYS + 5)
    await connection.execute(TAKE_HALF, resource_id)
    await connection.execute("VACUUM ANALYZE")
    # the day after tomorrow: nothing passes into the past while we measure, and so no ETag changes
    tomorrow = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=2)
    return Question(resource_id, tomorrow)


def measure_availability(pgbench: PgBench, http: Http, question: Question, plan: Plan) -> list[AvailabilityRuns]:
    """Ask for the whole answer, and ask whether it is still the same, round by round."""
    etag = json.loads(http.etag_of(question.url))
    measured = [AvailabilityRuns(f"{DAYS} days, half taken"), AvailabilityRuns("unchanged (304)")]
    for _ in range(plan.rounds):
        for runs, known in zip(measured, ("", etag), strict=True):
            runs.pgbench.append(pgbench.ask(question.variables(known), plan.seconds))
            runs.http.append(http.ask(question.url, plan.seconds, f'"{known}"' if known else ""))
    return measured
