"""What the tests of roles share: a database that has them, and connections as each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from app.migrate import migrate
from migrations.roles import LOGINS
from tests.conftest import settings_for
from tests.migrations.support import connected

ROLES = tuple(f"holdfast_{role}" for role in LOGINS)
LOGIN_ROLES = tuple(f"holdfast_{role}" for role, may_log_in in LOGINS.items() if may_log_in)
ACT = "SELECT set_config('holdfast.actor', $1, true)"


async def give_roles(dsn: str) -> None:
    """What `holdfast migrate --create-roles` does."""
    await asyncio.to_thread(migrate, settings_for(dsn), create_roles=True)


@asynccontextmanager
async def connected_as(dsn: str, role: str, search_path: str = "holdfast") -> AsyncIterator[asyncpg.Connection]:
    """A raw connection that is that role's, as if it had logged in."""
    async with connected(dsn, search_path) as connection:
        await connection.execute(f"SET SESSION AUTHORIZATION {role}")
        yield connection
