"""Who may migrate: the schema's owner needs nothing else of the database."""

from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from sqlalchemy.exc import ProgrammingError

from app.migrate import head_revision
from tests.databases import on_server
from tests.migrations.support import connected, down, up


class Role(NamedTuple):
    """A plain role that may log in, and that role's way into the test's empty database."""

    name: str
    dsn: str


@pytest.fixture
async def role(empty_dsn: str) -> AsyncIterator[Role]:
    name, password = f"migrator_{uuid4().hex}", uuid4().hex
    server = urlsplit(empty_dsn)
    host = server.netloc.rpartition("@")[2]
    await on_server(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    yield Role(name, server._replace(netloc=f"{name}:{password}@{host}").geturl())
    async with connected(empty_dsn) as conn:
        await conn.execute(f"DROP OWNED BY {name} CASCADE")
    await on_server(f"DROP ROLE {name}")


async def test_a_prepared_schemas_owner_migrates_without_create_on_the_database(empty_dsn: str, role: Role) -> None:
    async with connected(empty_dsn) as conn:
        await conn.execute(f"CREATE SCHEMA holdfast AUTHORIZATION {role.name}")
        assert not await conn.fetchval("SELECT has_database_privilege($1, current_database(), 'CREATE')", role.name)

    await up(role.dsn)

    async with connected(empty_dsn) as conn:
        assert await conn.fetchval("SELECT version_num FROM holdfast.alembic_version") == head_revision()
        assert await conn.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'bookings'") == role.name
    await down(role.dsn, "base")


async def test_without_a_schema_and_without_the_right_to_make_one_nothing_is_done(empty_dsn: str, role: Role) -> None:
    with pytest.raises(ProgrammingError, match="permission denied for database"):
        await up(role.dsn)

    async with connected(empty_dsn) as conn:
        assert await conn.fetchval("SELECT to_regnamespace('holdfast')") is None


async def test_create_on_the_database_is_enough_where_there_is_no_schema(empty_dsn: str, role: Role) -> None:
    async with connected(empty_dsn) as conn:
        await conn.execute(f"GRANT CREATE ON DATABASE {urlsplit(empty_dsn).path[1:]} TO {role.name}")

    await up(role.dsn)

    async with connected(empty_dsn) as conn:
        assert await conn.fetchval("SELECT version_num FROM holdfast.alembic_version") == head_revision()
