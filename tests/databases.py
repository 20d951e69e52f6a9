"""Databases to test in: copies of a template, each used again while its tests leave nothing behind but rows."""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg

SERVER = "TEST_DATABASE_URL"
# what the service connects as, where it is set: databases have roles then; the tests' own connections have all rights
ROLE = "TEST_AS_ROLE"
# as much as dead rows may fill before the next test shall not have to walk through them
BLOAT_BYTES = 8_000_000
KEPT = ("alembic_version", "booking_transitions")

# which transactions made the objects that are no system's, and the rows that migrations wrote
SHAPE = """
    SELECT (SELECT sum(xmin::text::bigint) FROM pg_class WHERE oid >= 16384 AND relkind <> 'S' AND relkind <> 't'),
      (SELECT sum(xmin::text::bigint) FROM pg_proc WHERE oid >= 16384),
      (SELECT sum(xmin::text::bigint) FROM pg_trigger),
      (SELECT sum(xmin::text::bigint) FROM pg_constraint WHERE oid >= 16384),
      (SELECT sum(xmin::text::bigint) FROM pg_namespace WHERE oid >= 16384),
      (SELECT sum(xmin::text::bigint) FROM holdfast.booking_transitions),
      (SELECT count(*) FROM pg_db_role_setting)
"""


def dsn_of(database: str) -> str:
    """The server's URL with another database."""
    server = os.environ[SERVER]
    return server.replace(f"@{urlsplit(server).netloc.partition('@')[2]}/holdfast", "@/" + database, 1)


def dsn_as(dsn: str, role: str) -> str:
    """The same database, as a role that needs no password there."""
    url = urlsplit(dsn)
    query = [(name, value) for name, value in parse_qsl(url.query) if name not in {"user", "password"}]
    return url._replace(netloc=f"{role}@{url.netloc.rpartition('@')[2]}", query=urlencode(query)).geturl()


async def on_server(statement: str) -> None:
    """Run one statement on the server's own database."""
    connection = await asyncpg.connect(os.environ[SERVER])
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def copy_of(template: str, purpose: str) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """A migrated database for all tests of a module, which clear up after themselves: its URL, and a connection."""
    name = f"{purpose}_{template}"
    await on_server(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        conn = await asyncpg.connect(dsn_of(name), server_settings={"search_path": "holdfast"})
        try:
            yield dsn_of(name), conn
        finally:
            await conn.close()
    finally:
        await on_server(f"DROP DATABASE {name} WITH (FORCE)")


async def empty(conn: asyncpg.Connection) -> None:
    """Delete every row that no migration wrote, around all guards."""
    tables = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'holdfast'")
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute("".join(f"DELETE FROM holdfast.{name};" for (name,) in tables if name not in KEPT))


class Databases:
    """One database at a time, for one worker. A copy takes a third of a second, emptying one a hundredth."""

    def __init__(self, template: str) -> None:
        self.template = template
        self.name = ""
        self._new: tuple[object, ...] = ()
        self._conn: asyncpg.Connection | None = None

    async def take(self) -> str:
        """The name of a migrated, empty database."""
        if not self.name:
            self.name = f"test_{uuid.uuid4().hex}"
            await on_server(f"CREATE DATABASE {self.name} TEMPLATE {self.template} STRATEGY FILE_COPY")
            self._new = await self._look()
        return self.name

    async def give_back(self) -> None:
        """Empty it for the next test, or drop it if the test did more to it than write rows."""
        *shape, size = await self._look()
        *new_shape, new_size = self._new
        if shape != new_shape or int(str(size)) > int(str(new_size)) + BLOAT_BYTES:
            await self.drop()

    async def connection(self) -> asyncpg.Connection:
        """One connection to it, kept: the first statements of a new one take longer than most tests."""
        if self._conn is None or self._conn.is_closed():
            self._conn = await asyncpg.connect(dsn_of(self.name), server_settings={"search_path": "holdfast"})
        return self._conn

    async def drop(self) -> None:
        """Have none any more."""
        if self._conn:
            self._conn.terminate()
            self._conn = None
        if self.name:
            await on_server(f"DROP DATABASE {self.name} WITH (FORCE)")
            self.name = ""

    async def _look(self) -> tuple[object, ...]:
        """Turn everybody out, empty it, and see what shape it is in."""
        await self._renew()
        conn = await self.connection()
        await conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        await empty(conn)
        size = await conn.fetchval("SELECT pg_database_size(current_database())")
        return *(await conn.fetch(SHAPE))[0], size

    async def _renew(self) -> None:
        """Leave nothing on the kept connection of what a test did there, or have another."""
        if self._conn and not self._conn.is_closed():
            try:
                await self._conn.reset(timeout=5)
                await self._conn.execute("RESET SESSION AUTHORIZATION; RESET ROLE; DISCARD TEMP; DISCARD SEQUENCES")
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                self._conn.terminate()
