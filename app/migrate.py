"""Bring the database's schema to where this version expects it."""

import io
from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.settings import Settings

ALEMBIC_INI = Path(__file__).parent.parent / "alembic.ini"


def alembic_config(settings: Settings) -> Config:
    """Alembic's configuration, carrying our settings."""
    config = Config(ALEMBIC_INI)
    config.attributes["settings"] = settings
    return config


def migrate(settings: Settings, revision: str = "head", *, create_roles: bool = False) -> None:
    """Upgrade to `revision`, and give the schema roles of its own where that is asked for.

    Safe to run from many places at once; blocking, and not from a running event loop.
    """
    config = alembic_config(settings)
    config.attributes["create_roles"] = create_roles
    command.upgrade(config, revision)


def render(settings: Settings) -> str:
    """The SQL that `migrate` would run on an empty database, for a person or a linter to read."""
    config = alembic_config(settings)
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


@lru_cache
def head_revision() -> str:
    """The newest migration this version knows."""
    return ScriptDirectory.from_config(Config(ALEMBIC_INI)).get_current_head() or ""
