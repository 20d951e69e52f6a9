"""A gym that knows ann, and an installation that has a key."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.database import Database
from app.settings import Settings
from tests.adapters.support import Simulator, running_simulator
from tests.prebookings.support import Gym, with_key


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The installation's settings, with a key."""
    return with_key(settings)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A provider that nobody has booked at yet."""
    async with running_simulator() as running:
        yield running


@pytest.fixture
async def gym(conn: asyncpg.Connection, database: Database, settings: Settings, simulator: Simulator) -> Gym:
    """It books as it should, and ann has stored what it lets her in with."""
    gym = Gym(conn, database, settings, simulator)
    await gym.open()
    await gym.let_in()
    return gym
