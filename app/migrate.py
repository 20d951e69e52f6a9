"""Bring the database's schema to where this version expects it."""

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


def migrate(settings: Settings, revision: str = "head") -> None:
    """Upgrade to `revision`. Safe to run from many places at once; blocking, and not from a running event loop."""
    command.upgrade(alembic_config(settings), revision)


@lru_cache
def head_revision() -> str:
    """The newest migration this version knows."""
    return ScriptDirectory.from_config(Config(ALEMBIC_INI)).get_current_head() or ""
