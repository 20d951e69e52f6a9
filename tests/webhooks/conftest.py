"""An installation that has keys, and may send to this machine."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import asyncpg
import pytest
from fastapi import FastAPI

from app.database import Database
from app.main import create_app
from app.settings import Settings
from app.webhooks.sending import Sender
from tests.credentials.support import FIRST, with_keys
from tests.webhooks.support import FastClock, Receiver


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The installation's settings, with one key and the way to loopback open."""
    return with_keys(settings, FIRST).model_copy(update={"webhook_allowed_networks": (ip_network("127.0.0.0/8"),)})


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application with these settings."""
    created = create_app(settings)
    async with created.router.lifespan_context(created):
        yield created


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that takes everything."""
    async with Receiver() as running:
        yield running


@pytest.fixture
def sender(settings: Settings) -> Sender:
    """Sends to loopback, and is soon out of patience."""
    return Sender(settings.webhook_allowed_networks, timeout=0.3)


@pytest.fixture
async def clock(conn: asyncpg.Connection, database: Database, settings: Settings, sender: Sender) -> FastClock:
    """Begins at the database's own time."""
    clock = FastClock(conn, database, settings, sender)
    await clock.begin()
    return clock
