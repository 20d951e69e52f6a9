"""What the migration tests share: stepping a database up and down, and reading what is in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from alembic import command

from app.migrate import alembic_config, migrate
from tests.conftest import settings_for

ROOT = Path(__file__).parents[2]
REVISIONS = sorted((ROOT / "migrations" / "versions").glob("[0-9]*.py"))

DEFINITIONS = """
    SELECT 'functions/' || p.proname AS name, pg_get_functiondef(p.oid) AS definition
    FROM pg_proc p WHERE p.pronamespace = $1::regnamespace
    UNION ALL
    SELECT 'triggers/' || t.tgname, pg_get_triggerdef(t.oid)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = $1::regnamespace AND NOT t.tgisinternal AND NOT c.relispartition
"""
CONTENTS = """
    SELECT relname::text FROM pg_class WHERE relnamespace = $1::regnamespace
    UNION SELECT proname::text FROM pg_proc WHERE pronamespace = $1::regnamespace
    UNION SELECT typname::text FROM pg_type WHERE typnamespace = $1::regnamespace AND typelem = 0
"""


async def up(dsn: str, revision: str = "head") -> None:
    """Upgrade, in a thread: Alembic's environment starts an event loop of its own."""
    await asyncio.to_thread(migrate, settings_for(dsn), revision)


async def down(dsn: str, revision: str) -> None:
    """Downgrade to `revision`; `-1` is one step."""
    await asyncio.to_thread(command.downgrade, alembic_config(settings_for(dsn)), revision)


@asynccontextmanager
async def connected(dsn: str, search_path: str = "holdfast") -> AsyncIterator[asyncpg.Connection]:
    """A raw connection to any database."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": search_path})
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def definitions(conn: asyncpg.Connection, schema: str = "holdfast") -> dict[str, str]:
    """What the server says of every function and trigger: object -> definition."""
    rows = await conn.fetch(DEFINITIONS, schema)
    assert len({row["name"] for row in rows}) == len(rows), "two objects of one name"
    return {row["name"]: row["definition"] for row in rows}


async def contents(conn: asyncpg.Connection, schema: str = "holdfast") -> set[str]:
    """The names of everything in a schema."""
    return {row[0] for row in await conn.fetch(CONTENTS, schema)}


async def definitions_at(dsn: str) -> dict[str, str]:
    """The same, of a database by its address."""
    async with connected(dsn) as conn:
        return await definitions(conn)


async def contents_at(dsn: str, schema: str = "holdfast") -> set[str]:
    """The same, of a database by its address."""
    async with connected(dsn) as conn:
        return await contents(conn, schema)
