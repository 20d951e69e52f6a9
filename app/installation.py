"""What the environment describes, with a database behind it, for commands."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pydantic import SecretStr
from rich.console import Console

from app import embedded
from app.database import Database, open_database
from app.log import configure_logging
from app.security import Actor
from app.settings import Settings

Answer = TypeVar("Answer")

OPERATOR = Actor("admin", f"cli:{os.environ.get('USER', 'unknown')}")

notes = Console(stderr=True)


def run_migrations(settings: Settings, *, create_roles: bool = False) -> None:
    """Bring the installation's database to this version's schema."""
    from app.migrate import migrate

    migrate(settings, create_roles=create_roles)


@contextmanager
def installation() -> Iterator[Settings]:
    """The environment's settings with a database behind them: DATABASE_URL's, or our own, migrated and running."""
    settings = Settings()
    configure_logging(settings.log_level)
    if settings.database_url is not None:
        yield settings
        return
    data_dir = settings.data_dir or embedded.default_data_dir()
    notes.print(f"» embedded Postgres in {data_dir}", style="dim", highlight=False, soft_wrap=True)
    with embedded.start(data_dir, pg_bin=settings.pg_bin) as server:
        settings = settings.model_copy(update={"database_url": SecretStr(server.url), "data_dir": data_dir})
        run_migrations(settings)
        yield settings


def with_database(work: Callable[[Database], Awaitable[Answer]], *, takes_long: bool = False) -> Answer:
    """Run `work` on the installation's database, from the shell; its statements may take long where it says so."""

    async def run(settings: Settings) -> Answer:
        async with open_database(settings, takes_long=takes_long) as database:
            return await work(database)

    with installation() as settings:
        return asyncio.run(run(settings))
