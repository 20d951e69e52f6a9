"""Alembic's entry: one run at a time, in the configured schema, under time-outs."""

import asyncio
import re
import uuid

import asyncpg
from alembic import context
from sqlalchemy import Connection, event, pool
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.settings import Settings
from app.tables import metadata
from app.tables.columns import XID8
from migrations import roles

# Alembic's own, and the partitions of the audit trail, each of which is as the trail itself
NOT_ON_A_PAGE = re.compile("alembic_version|audit_log_.*")

# One fixed number that every Holdfast installation of a server agrees on; "hold" in ASCII.
RUN_LOCK = 0x686F6C64
# seconds to wait for it, and between two looks
PATIENCE = 600
PAUSE = 0.1

settings: Settings = context.config.attributes.get("settings") or Settings()

# IF NOT EXISTS alone asks for CREATE on the database even where the schema is there, prepared for a role without it.
CREATE_SCHEMA = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '{settings.db_schema}') THEN
        CREATE SCHEMA IF NOT EXISTS {settings.db_schema};
    END IF;
END $$"""

# Where it has an owner of its own (see migrations/roles.py), that one makes everything, whoever migrates.
BECOME_OWNER = f"""
DO $$ BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_namespace
        WHERE nspname = '{settings.db_schema}' AND nspowner = to_regrole('{settings.db_schema}_owner')
          AND pg_has_role(nspowner, 'MEMBER')
    ) THEN
        SET LOCAL ROLE {settings.db_schema}_owner;
    END IF;
END $$"""

# a type that SQLAlchemy would not know when it meets it
ischema_names["xid8"] = XID8

# At the start of every transaction.
SET_UP = (
    f"SET LOCAL search_path TO {settings.db_schema}, pg_temp",
    # Waiting for a lock makes everyone else wait behind us: give up and be run again.
    "SET LOCAL lock_timeout TO '2s'",
    "SET LOCAL statement_timeout TO '10min'",
    # Functions are created in the order of their names, before those they call.
    "SET LOCAL check_function_bodies TO off",
)


def make_engine() -> AsyncEngine:
    """An engine without prepared-statement reuse, so that a transaction pooler may sit in between."""

    def connect() -> object:
        return engine.sync_engine.dialect.loaded_dbapi.connect(
            async_creator_fn=lambda: asyncpg.connect(settings.dsn, statement_cache_size=0),
            prepared_statement_cache_size=0,
            prepared_statement_name_func=lambda: f"holdfast_{uuid.uuid4().hex}",
        )

    engine = create_async_engine("postgresql+asyncpg://", poolclass=pool.NullPool, creator=connect)

    @event.listens_for(engine.sync_engine, "begin")
    def set_up_transaction(connection: Connection) -> None:
        for statement in (*SET_UP, BECOME_OWNER):
            connection.exec_driver_sql(statement)

    return engine


def run(connection: Connection) -> None:
    """Take each migration in a transaction of its own, and then the roles, which may have changed without one."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=settings.db_schema,
        transaction_per_migration=True,
        include_name=lambda name, kind, _parents: kind != "table" or not NOT_ON_A_PAGE.fullmatch(name or ""),
        # what a migration makes is the roles' before anybody sees it
        on_version_apply=lambda **_: roles.keep(connection, settings.db_schema),
    )
    with context.begin_transaction():
        context.run_migrations()
    # absent where nobody migrates: `alembic current` changes nothing
    create_roles = context.config.attributes.get("create_roles")
    if create_roles is not None:
        connection.commit()
        (roles.create if create_roles else roles.keep)(connection, settings.db_schema)
        connection.commit()


async def hold_run_lock(guard: AsyncConnection) -> None:
    """Wait for others, then keep them out until the guard's transaction ends. Raises TimeoutError, RolesError.

    Who waits asks again and again and holds nothing meanwhile, not even a snapshot: whoever builds an index
    concurrently waits for those of others.
    """
    async with asyncio.timeout(PATIENCE):
        while not (await guard.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({RUN_LOCK})")).scalar_one():
            await guard.rollback()
            await asyncio.sleep(PAUSE)
    await guard.run_sync(roles.require_migrator, settings.db_schema)
    # last, for it takes no snapshot with it
    await guard.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout TO 0")


async def run_online() -> None:
    """Run under an advisory lock that ends with its transaction, whatever becomes of us."""
    engine = make_engine()
    async with engine.connect() as guard, engine.connect() as connection:
        await hold_run_lock(guard)
        await connection.exec_driver_sql(CREATE_SCHEMA)
        await connection.commit()
        await connection.run_sync(run)
    await engine.dispose()


def run_offline() -> None:
    """Print the SQL instead of running it, for a person or a linter to read."""
    context.configure(
        dialect_name="postgresql",
        # any other style would double the percent signs inside functions
        dialect_opts={"paramstyle": "named"},
        version_table_schema=settings.db_schema,
    )
    with context.begin_transaction():
        for statement in (*SET_UP, CREATE_SCHEMA):
            context.execute(statement)
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    asyncio.run(run_online())
