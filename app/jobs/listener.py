"""Listens for the hint that something is due, and sees to it that it really does."""

import asyncio
from collections.abc import Callable

import structlog

from app.database import TROUBLE, listening
from app.settings import Settings
from app.waker import channel_of

# Seconds. A connection that died without a word is noticed after the probe and its patience.
PROBE = 10.0
PATIENCE = 5.0
RECONNECT = 1.0

logger = structlog.get_logger(__name__)


async def listen(settings: Settings, wake: Callable[[], None]) -> None:
    """Call `wake` for every hint, and after every new connection, for what came while there was none. Never returns."""
    while True:
        try:
            async with listening(settings, channel_of(settings.db_schema), wake, PATIENCE) as still_listens:
                wake()
                while await still_listens():  # noqa: ASYNC110 - the pause between two probes
                    await asyncio.sleep(PROBE)
        except TROUBLE as error:
            logger.warning("cannot listen", error=type(error).__name__)
        await asyncio.sleep(RECONNECT)
