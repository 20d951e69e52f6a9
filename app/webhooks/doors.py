"""How many requests are under way to one receiver: one that hangs takes its own share of the room, and no other's."""

import asyncio
import time

AT_ONCE = 8
# Seconds after which a request is not expected to end soon.
PATIENCE = 1.0


class Door:
    """The way to one receiver: a few at once, one at a time while it fails. Who comes to a full one waits a moment."""

    def __init__(self) -> None:
        self.is_failing = False
        self._entered: list[float] = []
        self._room = asyncio.Semaphore(AT_ONCE)

    async def enter(self) -> float | None:
        """What to leave with, if one more may be sent now."""
        if self._is_shut:
            return None
        try:
            async with asyncio.timeout(self._patience):
                await self._room.acquire()
        except TimeoutError:
            return None
        if self._is_shut:
            self._room.release()
            return None
        self._entered.append(time.monotonic())
        return self._entered[-1]

    def leave(self, entered: float, *, is_failing: bool) -> None:
        """It is answered, or will not be."""
        self.is_failing = is_failing
        self._entered.remove(entered)
        self._room.release()

    @property
    def _is_shut(self) -> bool:
        return self.is_failing and bool(self._entered)

    @property
    def _patience(self) -> float:
        """For how long the one that has been inside for longest can still be waited for."""
        return PATIENCE if not self._entered else max(self._entered[0] + PATIENCE - time.monotonic(), 0.0)
