"""A server a run, a template database a worker, an empty database for every test.

No rollback: rivals, SKIP LOCKED and commit-time failures need rows that are really committed.
Set TEST_DATABASE_URL to use a server of yours instead, and PG_BIN to choose the binaries of ours.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import asyncpg
import httpx2
import hypothesis
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app import embedded
from app.database import Database, open_database
from app.main import create_app
from app.migrate import migrate
from app.settings import Settings
from tests.databases import ROLE, SERVER, Databases, dsn_as, dsn_of, on_server
from tests.factories import Factory, make_api_key

CRON_SECRET = "a-secret-for-tests-only"  # noqa: S105

Connect = Callable[[], Awaitable[asyncpg.Connection]]


def pytest_configure(config: pytest.Config) -> None:
    """Start the server once, in the process that starts the workers."""
    stack = config.stash[_stack_key] = ExitStack()
    if SERVER not in os.environ:
        pg_bin = os.environ.get("PG_BIN")
        server = stack.enter_context(embedded.temporary(pg_bin=Path(pg_bin) if pg_bin else None))
        os.environ[SERVER] = server.url
        stack.callback(os.environ.pop, SERVER)
        # what a test says of costs must not depend on whose turn it is to be vacuumed
        asyncio.run(on_server("ALTER SYSTEM SET autovacuum = off"))
        asyncio.run(on_server("SELECT pg_reload_conf()"))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop it, in that process."""
    config.stash[_stack_key].close()


_stack_key = pytest.StashKey[ExitStack]()

# no test is timed
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def settings_for(dsn: str) -> Settings:
    """Settings of an installation in that database, untouched by the environment's."""
    return Settings(_env_file=None, database_url=SecretStr(dsn), cron_secret=SecretStr(CRON_SECRET), log_level="error")


@pytest.fixture(scope="session")
def template(worker_id: str) -> Iterator[str]:
    """A migrated database of this worker, to copy."""
    name = f"template_{worker_id}_{uuid.uuid4().hex[:8]}"
    asyncio.run(on_server(f"CREATE DATABASE {name}"))
    migrate(settings_for(dsn_of(name)), create_roles=ROLE in os.environ)
    yield name
    asyncio.run(on_server(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
async def databases(template: str) -> AsyncIterator[Databases]:
    """Where this worker's tests run, one after the other."""
    databases = Databases(template)
    yield databases
    await databases.drop()


@pytest.fixture
async def dsn(databases: Databases) -> AsyncIterator[str]:
    """A migrated, empty database, for this test alone."""
    yield dsn_of(await databases.take())
    await databases.give_back()


@pytest.fixture
async def empty_dsn() -> AsyncIterator[str]:
    """A database that nobody has migrated."""
    name = f"test_{uuid.uuid4().hex}"
    await on_server(f"CREATE DATABASE {name}")
    yield dsn_of(name)
    await on_server(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def connect(dsn: str) -> AsyncIterator[Connect]:
    """Open as many rival connections as a test needs; they are closed with it."""
    async with AsyncExitStack() as stack:

        async def open_connection() -> asyncpg.Connection:
            connection = await asyncpg.connect(dsn, server_settings={"search_path": "holdfast"})
            stack.push_async_callback(connection.close, timeout=5)
            return connection

        yield open_connection


@pytest.fixture
async def conn(databases: Databases, dsn: str) -> asyncpg.Connection:  # noqa: ARG001 - made ready by it
    """One raw connection, around the API: what psql would do."""
    return await databases.connection()


@pytest.fixture
async def make(conn: asyncpg.Connection) -> Factory:
    """Rows to start from."""
    return Factory(conn)


@pytest.fixture
def settings(dsn: str) -> Settings:
    """The installation's settings."""
    return settings_for(dsn_as(dsn, os.environ[ROLE]) if ROLE in os.environ else dsn)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The app's own door to the database."""
    async with open_database(settings) as opened:
        yield opened


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application, with its lifespan running."""
    created = create_app(settings)
    async with created.router.lifespan_context(created):
        yield created


def client_of(app: FastAPI, token: str | None = None) -> httpx2.AsyncClient:
    """An HTTP client of the application, with a bearer token or without one."""
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app, raise_app_exceptions=False, client=("203.0.113.7", 4711)),
        base_url="http://holdfast.test",
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )


@pytest.fixture
async def public(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller without a token."""
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def admin(app: FastAPI, conn: asyncpg.Connection) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller with an admin key."""
    async with client_of(app, await make_api_key(conn, "admin")) as client:
        yield client


@pytest.fixture
async def frontend(app: FastAPI, conn: asyncpg.Connection) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller with a frontend key."""
    async with client_of(app, await make_api_key(conn, "frontend")) as client:
        yield client


@pytest.fixture
async def cron(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller with the cron secret."""
    async with client_of(app, CRON_SECRET) as client:
        yield client
