"""Databases to test in: copies of a template, each used again while its tests leave nothing behind but rows."""

import os
import uuid
from urllib.parse import urlsplit

import asyncpg

SERVER = "TEST_DATABASE_URL"
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


async def on_server(statement: str) -> None:
    """Run one statement on the server's own database."""
    connection = await asyncpg.connect(os.environ[SERVER])
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


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

    async def drop(self) -> None:
        """Have none any more."""
        if self.name:
            await on_server(f"DROP DATABASE {self.name} WITH (FORCE)")
            self.name = ""

    async def _look(self) -> tuple[object, ...]:
        """Turn everybody out, empty it, and see what shape it is in."""
        conn = await asyncpg.connect(dsn_of(self.name))
        try:
            await conn.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            await empty(conn)
            return *(await conn.fetch(SHAPE))[0], await conn.fetchval("SELECT pg_database_size(current_database())")
        finally:
            await conn.close()
