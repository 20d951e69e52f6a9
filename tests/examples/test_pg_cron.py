"""examples/cron/pg_cron.sql, run by the real extension where the machine has it."""

import asyncio
import re
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app import embedded
from app.embedded.account import Account
from app.migrate import migrate
from tests.conftest import settings_for
from tests.examples.support import CRON
from tests.factories import ACTOR, Factory
from tests.sql.schedules import put_schedule

SETUP = (CRON / "pg_cron.sql").read_text()
NAMES = set(re.findall(r"^SELECT cron.schedule\('(holdfast-[a-z-]+)'", SETUP, re.MULTILINE))
# for which nobody has to wait a minute: it is when the server starts
AT_START = re.sub(r"'\S+ \S+ \* \* \*'", "'@reboot'", SETUP)
PATIENCE = 30
RESOURCES = 3
# where Debian puts it
INSTALLED = [
    Path("/usr/lib/postgresql", control.parents[1].name, "bin")
    for control in Path("/usr/share/postgresql").glob("*/extension/pg_cron.control")
]
# the two ways in which it runs a command: as a client that logs in, and as a process of the server's own
WAYS = {"a client": "cron.host = '{socket}'", "a background worker": "cron.use_background_workers = on"}
CONFIGURATION = "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'holdfast'\n"
ENDED = """
    SELECT j.jobname, d.status, d.return_message
    FROM cron.job j
    JOIN cron.job_run_details d USING (jobid)
    WHERE d.start_time > $1 AND d.end_time IS NOT NULL
"""

pytestmark = pytest.mark.skipif(not INSTALLED, reason="no server here has the extension pg_cron")


class Installation:
    """Holdfast in a cluster with pg_cron, owned by a role that is no superuser."""

    def __init__(self, folder: Path, way: str) -> None:
        self._folder = folder
        self._server = self._start()
        self._server.stop()
        configuration = CONFIGURATION + WAYS[way].format(socket=self._server.socket_dir)
        with (folder / "postgres" / "postgresql.conf").open("a") as file:
            file.write(configuration + "\n")
        self._server = self._start()

    def _start(self) -> embedded.EmbeddedPostgres:
        return embedded.start(self._folder, durable=False, pg_bin=INSTALLED[-1])

    @property
    def url(self) -> str:
        return self._server.url.replace("holdfast@", "keeper@", 1)

    def restart(self) -> None:
        self._server.stop()
        self._server = self._start()

    def stop(self) -> None:
        self._server.stop()

    @asynccontextmanager
    async def connect(self, *, as_superuser: bool = False) -> AsyncIterator[asyncpg.Connection]:
        conn = await asyncpg.connect(
            self._server.url if as_superuser else self.url, server_settings={"search_path": "holdfast, public"}
        )
        try:
            yield conn
        finally:
            await conn.close()

    async def prepare(self) -> None:
        """What the example says a superuser has to do once, and a role for Holdfast."""
        async with self.connect(as_superuser=True) as conn:
            await conn.execute(
                """CREATE ROLE keeper LOGIN;
                CREATE EXTENSION pg_cron;
                GRANT USAGE ON SCHEMA cron TO keeper"""
            )
            await conn.execute("GRANT CREATE ON DATABASE holdfast TO keeper")

    async def fire(self) -> dict[str, tuple[str, str]]:
        """Let pg_cron run each command once, now; how each ended."""
        async with self.connect() as conn:
            await conn.execute(AT_START)
            since = await conn.fetchval("SELECT clock_timestamp()")
        self.restart()
        deadline = time.monotonic() + PATIENCE
        async with self.connect() as conn:
            while time.monotonic() < deadline:
                runs = await conn.fetch(ENDED, since)
                if {run["jobname"] for run in runs} == NAMES:
                    break
                await asyncio.sleep(0.1)
        return {run["jobname"]: (run["status"], run["return_message"]) for run in runs}


@pytest.fixture(scope="module", params=WAYS)
def installation(request: pytest.FixtureRequest) -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="hf-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(Account.choose().passage_mode)
        made = Installation(folder, request.param)
        try:
            asyncio.run(made.prepare())
            migrate(settings_for(made.url))
            yield made
        finally:
            made.stop()


async def let_everything_fall_due(conn: asyncpg.Connection) -> None:
    """One thing for each statement to do, and more than one schedule."""
    make = Factory(conn)
    await make.booking(p_payment_method="pay_now")
    await conn.execute("UPDATE bookings SET expires_at = now() - interval '1 hour'")

    over = await make.slot()
    await make.booking(over)
    await conn.execute("UPDATE bookings SET placed_at = now() - interval '4 hours' WHERE slot_id = $1", over)
    times = "starts_at = now() - interval '2 hours', ends_at = now() - interval '1 hour'"
    await conn.execute(f"UPDATE slots SET {times} WHERE id = $1", over)

    forgotten = await make.booking()
    await conn.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
    await conn.execute("DELETE FROM jobs WHERE booking_id = $1", forgotten)
    await conn.execute("ALTER TABLE jobs ENABLE TRIGGER USER")

    full = await make.slot()
    await make.booking(full)
    await conn.execute("SELECT join_waitlist($1, $2, $3)", ACTOR, full, '{"ref": "bob"}')
    await conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", full)

    for _ in range(RESOURCES):
        await put_schedule(conn, await make.resource())
    await conn.execute("UPDATE jobs SET run_at = now() - interval '1 hour' WHERE job_type = 'refresh_schedule'")
    await let_things_grow_old(conn)


async def let_things_grow_old(conn: asyncpg.Connection) -> None:
    """A lease, a job, a run and an idempotency key of the week before last."""
    await conn.execute(
        """SELECT enqueue_job(p_job_type => 'mail', p_queue => 'mails', p_now => now() - interval '14 days');
        SELECT claim_jobs('gone', 'mails', 1, interval '1 minute', now() - interval '14 days');
        INSERT INTO jobs (job_type, dedupe_key, queue, status, scheduled_at, run_at, processed_at)
        SELECT 'mail', 'old', 'mails', 'processed', t, t, t FROM (SELECT now() - interval '14 days') o (t);
        SELECT record_job_run('old', 'cron', '{}', true, now() - interval '14 days');
        INSERT INTO idempotency_keys VALUES ('p', 'create_booking', 'old', '', '{}', now() - interval '14 days')"""
    )


@pytest.fixture(scope="module")
async def fired(installation: Installation) -> dict[str, tuple[str, str]]:
    """How each statement ended, after everything had fallen due."""
    async with installation.connect() as conn:
        await let_everything_fall_due(conn)
    return await installation.fire()


async def counted(conn: asyncpg.Connection, query: str) -> dict[Any, Any]:
    """The rows of a query of two columns."""
    return {row[0]: row[1] for row in await conn.fetch(query)}


async def test_every_statement_is_taken_once_however_often_it_is_given(installation: Installation) -> None:
    async with installation.connect() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute(SETUP)
        await conn.execute(SETUP)
        jobs = await conn.fetch("SELECT jobname, schedule, username, database, active FROM cron.job")
        # before a minute begins and pg_cron with it
        await transaction.rollback()

    assert sorted(job["jobname"] for job in jobs) == sorted(NAMES)
    assert Counter(job["schedule"] for job in jobs) == {"* * * * *": 11, "*/5 * * * *": 11, "17 3 * * *": 1}
    assert {tuple(job)[2:] for job in jobs} == {("keeper", "holdfast", True)}


async def test_pg_cron_runs_every_statement(fired: dict[str, tuple[str, str]]) -> None:
    assert {name: status for name, (status, _) in fired.items()} == dict.fromkeys(NAMES, "succeeded"), fired


@pytest.mark.usefixtures("fired")
async def test_what_was_due_is_done(installation: Installation) -> None:
    async with installation.connect() as conn:
        bookings = await counted(conn, "SELECT status, count(*) FROM bookings GROUP BY 1")
        line = await counted(conn, "SELECT status, count(*) FROM waitlist_entries GROUP BY 1")
        attempts = await counted(conn, "SELECT outcome, count(*) FROM job_attempts GROUP BY 1")
        due = await conn.fetchval("SELECT remaining_due FROM due_jobs() d")

    assert bookings == {"expired": 1, "completed": 1, "confirmed": 2}
    assert line == {"closed": 1}
    assert attempts == {"lease_expired": 1}
    assert due == 0


@pytest.mark.usefixtures("fired")
async def test_every_schedule_rolled_on_in_a_transaction_of_its_own(installation: Installation) -> None:
    async with installation.connect() as conn:
        refreshed = await conn.fetch(
            "SELECT xmin::text FROM jobs WHERE job_type = 'refresh_schedule' AND status = 'processed'"
        )
        armed = await conn.fetchval(
            "SELECT count(*) FROM jobs WHERE job_type = 'refresh_schedule' AND status = 'pending' AND run_at > now()"
        )

    assert len(refreshed) == len(set(refreshed)) == RESOURCES
    assert armed == RESOURCES


@pytest.mark.usefixtures("fired")
async def test_what_was_lost_is_back_and_what_was_old_is_gone(installation: Installation) -> None:
    async with installation.connect() as conn:
        without_a_job = """
            SELECT count(*) FROM bookings b
            WHERE b.status = 'confirmed' AND NOT EXISTS (SELECT FROM jobs j WHERE j.booking_id = b.id)
        """
        assert await conn.fetchval(without_a_job) == 0
        assert await conn.fetchval("SELECT count(*) FROM jobs WHERE dedupe_key = 'old'") == 0
        assert await conn.fetchval("SELECT count(*) FROM job_runs WHERE instance_id = 'old'") == 0
        assert await conn.fetchval("SELECT count(*) FROM idempotency_keys") == 0


@pytest.mark.usefixtures("fired")
async def test_the_audit_trail_names_pg_cron(installation: Installation) -> None:
    async with installation.connect() as conn:
        done = "SELECT event, performed_by_id FROM audit_log WHERE performed_by = 'system' AND subject_type = 'booking'"
        actors = await counted(conn, done)

    assert actors == {"booking.completed": "pg_cron", "booking.expired": "pg_cron"}


@pytest.mark.usefixtures("fired")
async def test_its_trace_says_that_somebody_comes(installation: Installation) -> None:
    async with installation.connect() as conn:
        callers = await counted(conn, "SELECT instance_id, caller FROM job_runs")
        seen = await conn.fetchval("SELECT last_run_age_ms FROM jobs_heartbeat()")

    assert callers == {"pg_cron": "pg_cron", "backfill": "backfill"}
    assert seen < PATIENCE * 1000


@pytest.mark.usefixtures("fired")
async def test_its_own_old_runs_are_forgotten(installation: Installation) -> None:
    async with installation.connect(as_superuser=True) as conn:
        await conn.execute(
            """INSERT INTO cron.job_run_details (jobid, username, end_time)
            SELECT j.jobid, j.username, now() - age
            FROM cron.job j, (VALUES (interval '4 days'), (interval '2 days')) a (age)
            WHERE j.jobname = 'holdfast-prune-jobs'"""
        )
        old = "SELECT count(*) FROM cron.job_run_details WHERE end_time < now() - interval '3 days'"
        young = "SELECT count(*) FROM cron.job_run_details WHERE end_time < now() - interval '1 day'"
        assert (await conn.fetchval(old), await conn.fetchval(young)) == (1, 2)

    runs = await installation.fire()

    assert runs["holdfast-forget-pg-cron-runs"] == ("succeeded", "DELETE 1")
    async with installation.connect(as_superuser=True) as conn:
        assert (await conn.fetchval(old), await conn.fetchval(young)) == (0, 1)
