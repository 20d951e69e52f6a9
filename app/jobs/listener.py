"""Listens for the hint that something is due, and sees to it that it really does."""

import asyncio
from collections.abc import Callable

import asyncpg
import structlog

from app.database import TROUBLE
from app.jobs.waker import channel_of
from app.settings import Settings

# Seconds. A connection that died without a word is noticed after the probe and its patience.
PROBE = 10.0
PATIENCE = 5.0
RECONNECT = 1.0

logger = structlog.get_logger(__name__)


async def listen(settings: Settings, wake: Callable[[], None]) -> None:
    """Call `wake` for every hint, and after every new connection, for what came while there was none. Never returns."""
    while True:
        try:
            connection = await asyncpg.connect(settings.dsn, timeout=PATIENCE)
            try:
                await _listen_on(connection, channel_of(settings.db_schema), wake)
            finally:
                connection.terminate()
        except TROUBLE as error:
            logger.warning("cannot listen", error=type(error).__name__)
        await asyncio.sleep(RECONNECT)


async def _listen_on(connection: asyncpg.Connection, channel: str, wake: Callable[[], None]) -> None:
    await connection.add_listener(channel, lambda *_: wake())
    wake()
    probe = "SELECT EXISTS (SELECT FROM pg_listening_channels() c WHERE c = $1)"
    while await connection.fetchval(probe, channel, timeout=PATIENCE):  # noqa: ASYNC110 - the pause between two probes
        await asyncio.sleep(PROBE)
