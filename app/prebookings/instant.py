"""The instant at which a request leaves: by the provider's clock, measured against ours, waited for on a steady one."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from app.adapters.adapter import Clock

NO_CLOCK = Clock(0.0, 0.0)


class Instant:
    """When it is `at` by the provider's clock at the earliest: however little is known of it, never before."""

    def __init__(self, at: datetime, clock: Clock | None) -> None:
        self._clock = clock or NO_CLOCK
        # time.time() may be set meanwhile
        self._steady = time.monotonic() + at.timestamp() - self._clock.low - time.time()

    async def wait(self, ahead: float = 0.0) -> None:
        """Return when it is the instant, or so many seconds before it; at once if that is past."""
        # a timer may be a little early
        while (left := self._steady - ahead - time.monotonic()) > 0:  # noqa: ASYNC110 - nothing but time is waited for
            await asyncio.sleep(left)

    def provider_time(self) -> datetime:
        """What time it is for the provider now, as far as is known."""
        return datetime.now(UTC) + timedelta(seconds=(self._clock.low + self._clock.high) / 2)
