"""The connection pool, and the one way to call a SQL function."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Annotated, Any

import asyncpg
import structlog
from fastapi import Depends, Request

from app import deadlines
from app.errors import Problem
from app.settings import Settings

logger = structlog.get_logger(__name__)

SESSION = {
    "application_name": "holdfast",
    "TimeZone": "UTC",
    # A session keeps its plans: those it made while a table was all but empty would read the whole of it in the rush
    # that follows, until somebody analyzes it. Where Postgres then thinks a plan dear, it must not compile it either.
    "enable_seqscan": "off",
    "jit": "off",
}

# Of rivals who wait for each other Postgres ends one, and one of those who cannot be put in a row: nothing of it was
# done, so it is begun again after at most so many seconds.
BEGUN_AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
PAUSES = (0.05, 0.2)

# What a call may raise when the database is away, restarting or busy: for those who wait and come again.
TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, Problem)


class Database:
    """Calls functions of one schema over one pool.

    Every call is one statement, one round trip, and its own transaction: when it returns, it has committed.
    """

    def __init__(self, pool: asyncpg.Pool, schema: str) -> None:
        self._pool = pool
        # the pool would let whoever comes just as a connection is given back go before all who wait for one
        self._turn = asyncio.Semaphore(pool.get_max_size())
        self.schema = schema

    async def call(self, function: str, /, **arguments: object) -> list[asyncpg.Record]:
        """Call `function` with named arguments and return its rows; again, when it only stood in a rival's way.

        Raises asyncpg.PostgresError as the function raised it, Problem `busy` when no connection came free,
        Problem `unavailable` when none could be made, and TimeoutError when the answer did not come in time, so that
        the outcome is unknown.
        """
        statement = _statement(self.schema, function, tuple(arguments))
        for pause in PAUSES:
            try:
                return await self._fetch(statement, arguments)
            except BEGUN_AGAIN:
                # at random, or the same rivals meet again; without a connection, which others need
                await asyncio.sleep(pause * random.random())  # noqa: S311 - nothing secret
        return await self._fetch(statement, arguments)

    async def _fetch(self, statement: str, arguments: dict[str, object]) -> list[asyncpg.Record]:
        async with self._connection() as connection:
            return await connection.fetch(statement, *arguments.values())

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator["asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"]:
        until = asyncio.get_running_loop().time() + deadlines.CONNECTION
        try:
            # a timer costs more than a turn that is free
            async with asyncio.timeout_at(until if self._turn.locked() else None):
                await self._turn.acquire()
        except TimeoutError:
            raise Problem("busy") from None
        try:
            connection = await self._acquire(until - asyncio.get_running_loop().time())
            try:
                yield connection
            finally:
                await self._pool.release(connection)
        finally:
            self._turn.release()

    async def _acquire(self, patience: float) -> "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]":
        try:
            return await self._pool.acquire(timeout=patience)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            # The kind, not the message: that one names hosts and users.
            logger.warning(
                "cannot connect to the database", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None)
            )
            # nothing was sent, whatever the same error would mean of a call under way
            raise Problem("unavailable") from None

    async def call_row(self, function: str, /, **arguments: object) -> asyncpg.Record:
        """Call a function that answers exactly one row."""
        (row,) = await self.call(function, **arguments)
        return row

    async def call_value(self, function: str, /, **arguments: object) -> Any:  # noqa: ANN401 - a column's value
        """Call a function that answers one value."""
        return (await self.call_row(function, **arguments))[0]

    async def notify(self, channel: str) -> None:
        """Wake whoever listens on the channel; not in a transaction that writes, for notifying serialises commits."""
        async with self._connection() as connection:
            await connection.execute("SELECT pg_notify($1, '')", channel)

    async def timeouts(self) -> dict[str, float]:
        """The seconds for which the server lets a call wait for a lock, and a statement take; 0 is for ever."""
        async with self._connection() as connection:
            query = "SELECT name, setting::float / 1000 FROM pg_settings WHERE name = ANY ($1)"
            rows = await connection.fetch(query, ["lock_timeout", "statement_timeout"])
        return {name: seconds for name, seconds in rows}  # noqa: C416 - a Record is no pair to mypy

    async def standing(self) -> asyncpg.Record:
        """Whom we connect as, `role`; whether the schema `has_roles` of its own, and whether ours `owns` it."""
        query = """
            SELECT current_user::text AS role, coalesce(n.has_roles, false) AS has_roles,
              coalesce(pg_has_role(n.nspowner, 'USAGE'), false) AS owns
            FROM (SELECT) AS one
            LEFT JOIN (
              SELECT x.nspowner, x.nspowner = to_regrole(x.nspname || '_owner') AS has_roles
              FROM pg_namespace x
              WHERE x.nspname = $1
            ) n ON true
        """
        async with self._connection() as connection:
            (standing,) = await connection.fetch(query, self.schema)
        return standing

    async def revision(self) -> str | None:
        """The migration the database is at, or None where none has run."""
        async with self._connection() as connection:
            try:
                revision: str | None = await connection.fetchval(
                    f"SELECT version_num FROM {self.schema}.alembic_version"  # noqa: S608 - a checked identifier
                )
            except asyncpg.UndefinedTableError:
                return None
            return revision


@lru_cache(maxsize=256)
def _statement(schema: str, function: str, names: tuple[str, ...]) -> str:
    arguments = ", ".join(f"{name} => ${position}" for position, name in enumerate(names, start=1))
    return f"SELECT * FROM {schema}.{function}({arguments})"  # noqa: S608 - names from our own code


async def _set_up_connection(connection: asyncpg.Connection) -> None:
    # json goes out as the database wrote it, straight into the response; jsonb comes in from Python values
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=str)


async def _no_reset(_connection: asyncpg.Connection) -> None:
    # A call leaves nothing behind on its connection, so asking the server to forget would only cost a round trip.
    return


@asynccontextmanager
async def open_database(settings: Settings, *, takes_long: bool = False) -> AsyncIterator[Database]:
    """A Database on a fresh pool, closed on exit; `takes_long`: its statements, as a command waits for, know no limit.

    Raises OSError or asyncpg.PostgresError when none can be reached.
    """
    pooled = settings.db_pooler == "transaction"
    endless = {"statement_timeout": "0"} if takes_long else {}
    async with asyncpg.create_pool(
        settings.dsn,
        min_size=1,
        max_size=settings.db_pool_size,
        command_timeout=None if takes_long else settings.deadlines.answer,
        # A transaction pooler gives each statement another server connection: nothing prepared, nothing set, survives.
        statement_cache_size=0 if pooled else 1024,
        server_settings={} if pooled else {**SESSION, **settings.deadlines.server_settings, **endless},
        init=_set_up_connection,
        reset=_no_reset,
    ) as pool:
        yield Database(pool, settings.db_schema)


@asynccontextmanager
async def listening(
    settings: Settings, channel: str, heard: Callable[[], None], patience: float
) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """A connection of its own that calls `heard` at each notification, and a probe of whether it still does.

    Raises what TROUBLE names, as the probe does, within `patience` seconds.
    """
    connection = await asyncpg.connect(settings.dsn, timeout=patience)

    async def still_listens() -> bool:
        probe = "SELECT EXISTS (SELECT FROM pg_listening_channels() c WHERE c = $1)"
        return bool(await connection.fetchval(probe, channel, timeout=patience))

    try:
        await connection.add_listener(channel, lambda *_: heard())
        yield still_listens
    finally:
        # it may be dead, and saying goodbye would wait for an answer
        connection.terminate()


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


Db = Annotated[Database, Depends(_database)]
