"""`holdfast jobs`, `holdfast worker` and `holdfast serve --worker`, as a person or a service manager calls them."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.cli.test_commands import ROOT, holdfast
from tests.concurrency.rivals import until
from tests.factories import Factory
from tests.jobs.support import enqueue, enqueue_many


async def test_jobs_shows_types_queues_and_callers(dsn: str, conn: asyncpg.Connection) -> None:
    await enqueue_many(conn, 1200, "mail")
    await enqueue(conn, "sms", p_queue="sms")
    await conn.execute("""SELECT pause_queue('{"type": "admin", "id": "t"}', 'sms', NULL, 'down')""")
    await conn.execute("""SELECT put_queue('{"type": "admin", "id": "t"}', 'default', 5, 50)""")
    await conn.execute("SELECT record_job_run('run_1', 'cron', '{}', true)")

    shown = holdfast(dsn, "jobs")

    assert shown.returncode == 0, shown.stderr
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["mail", "1,200", *["0"] * 5] in lines
    assert ["sms", "1", *["0"] * 5] in lines
    assert ["default", "1,200", "0", "5", "50", "ms", "-"] in lines
    assert ["sms", "1", "0", "-", "-", "down"] in lines
    assert "1,201 due" in shown.stdout
    (caller,) = (line for line in lines if line[0] == "cron")
    assert caller[-2:] == ["1", "0"]


async def test_jobs_says_so_where_nobody_ever_came(dsn: str) -> None:
    shown = holdfast(dsn, "jobs")

    assert shown.returncode == 0
    assert "nobody has ever come" in " ".join(shown.stdout.split())


@asynccontextmanager
async def started(dsn: str, *arguments: str) -> AsyncIterator[Process]:
    """A command that stays, killed with the block if it did not go before."""
    environment = os.environ | {"DATABASE_URL": dsn, "LOG_LEVEL": "info"}
    program = (sys.executable, "-m", "app.cli", *arguments)
    process = await asyncio.create_subprocess_exec(*program, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def until_said(process: Process, words: str) -> None:
    """Return when it has logged a line with these words."""
    assert process.stderr
    async with asyncio.timeout(30):
        said = b""
        while words.encode() not in said:
            said = await process.stderr.readline()
            assert said, f"it ended without a word of {words!r}"


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_does_what_is_due_until_it_is_told_to_stop(
    dsn: str, make: Factory, conn: asyncpg.Connection, ending: signal.Signals
) -> None:
    await make.ended_bookings()

    async with started(dsn, "worker") as worker:
        await until(conn, "(SELECT count(*) FROM bookings WHERE status = 'completed') = 1")
        worker.send_signal(ending)
        _, said = await asyncio.wait_for(worker.communicate(), 20)

    assert worker.returncode == 0
    last = json.loads(said.splitlines()[-1])
    assert (last["event"], last["processed"]) == ("worker stopped", 1)
    (run,) = await conn.fetch("SELECT * FROM job_runs WHERE caller = 'worker'")
    assert (run["instance_id"], run["ended_at"] is None) == (last["instance_id"], False)


async def test_a_server_may_have_a_worker_that_goes_with_it(dsn: str, make: Factory, conn: asyncpg.Connection) -> None:
    async with started(dsn, "serve", "--worker", "--port", "0") as server:
        await until_said(server, "worker started")
        await make.ended_bookings()
        await until(conn, "(SELECT count(*) FROM bookings WHERE status = 'completed') = 1")
        server.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(server.communicate(), 20)

    assert b'"worker stopped"' in said
    assert await conn.fetchval("SELECT ended_at IS NOT NULL FROM job_runs WHERE caller = 'worker'")


async def test_a_worker_without_its_database_says_so_in_a_sentence() -> None:
    said = holdfast("postgresql://nobody@127.0.0.1:1/none", "worker")

    assert said.returncode == 1
    assert "Traceback" not in said.stderr
