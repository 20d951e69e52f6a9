"""Many instances start at once on an empty database: each finds it migrated."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import asyncpg

from app.migrate import head_revision
from migrations import sqltree
from tests.migrations.support import ROOT, connected, definitions

INSTANCES = 4
RUN_LOCK = int.from_bytes(b"hold")
MIGRATE = "from app.migrate import migrate; from app.settings import Settings; migrate(Settings())"
# a connection that asks for the lock from time to time, and one to work on
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def start(dsn: str, folder: Path) -> asyncio.subprocess.Process:
    environment = {**os.environ, "DATABASE_URL": dsn, "PYTHONPATH": str(ROOT)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", MIGRATE, cwd=folder, env=environment, stdout=PIPE, stderr=PIPE
    )


async def until_all_wait(conn: asyncpg.Connection) -> None:
    async with asyncio.timeout(60):
        while await conn.fetchval(CONNECTED) < 2 * INSTANCES:  # noqa: ASYNC110 - the server sends no event
            await asyncio.sleep(0.01)


async def test_instances_that_start_at_once_all_succeed(empty_dsn: str, tmp_path: Path) -> None:
    async with connected(empty_dsn) as conn:
        await conn.execute(f"SELECT pg_advisory_lock({RUN_LOCK})")
        instances = [await start(empty_dsn, tmp_path) for _ in range(INSTANCES)]
        await until_all_wait(conn)
        await conn.execute(f"SELECT pg_advisory_unlock({RUN_LOCK})")

        errors = [(await instance.communicate())[1].decode() for instance in instances]

        assert [instance.returncode for instance in instances] == [0] * INSTANCES, errors
        assert await conn.fetchval("SELECT version_num FROM holdfast.alembic_version") == head_revision()
        assert set(await definitions(conn)) == set(sqltree.current())
