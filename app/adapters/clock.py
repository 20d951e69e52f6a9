"""A provider's clock against ours, measured from the time that its answers show.

An answer that shows the time D in steps of `step` seconds was made between the sending of its request and its first
byte, when that clock stood between D and D + step. This bounds how far it is ahead; further answers, timed around the
moment when the clock goes one step on, bound it closer. What cannot be true of one clock is no clock.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from app.adapters.adapter import Clock

# It is enough to know it as well as this, or to have spent so many requests or seconds.
ENOUGH = 0.020
PROBES = 10
SECONDS = 3.0
# For as long a measurement serves all who ask.
KEEP_SECONDS = 10.0
# A day: a clock that is further off shows no time.
MAX_AHEAD = 86400.0
# What a float cannot hold of today's time.
ROUNDING = 1e-6


class Reading(NamedTuple):
    """One look at the provider's clock: the time it showed, in steps of so many seconds, and when that was by ours."""

    sent: float
    received: float
    shown: float
    step: float


Look = Callable[[], Awaitable[Reading | None]]


def bounds(reading: Reading) -> Clock | None:
    """What one look says of the clock; None if it shows no time of today."""
    low = reading.shown - reading.received - ROUNDING
    high = reading.shown + reading.step - reading.sent + ROUNDING
    return Clock(low, high) if -MAX_AHEAD < low <= high < MAX_AHEAD else None


def both(one: Clock, other: Clock) -> Clock | None:
    """What two looks say together; None if they contradict each other."""
    low, high = max(one.low, other.low), min(one.high, other.high)
    return Clock(low, high) if low <= high else None


class Measurement:
    """What a few looks say of a clock, and when to take the next: none after `ends_at`, by our clock."""

    def __init__(self, ends_at: float) -> None:
        self.clock: Clock | None = None
        self._ends_at = ends_at
        self._latency = math.inf
        self._probes = PROBES

    def take(self, reading: Reading, now: float) -> float | None:
        """Add a look, and answer when to send the next request, by our clock; None if that was the last."""
        seen = bounds(reading)
        self.clock = both(self.clock, seen) if self.clock and seen else seen
        self._latency = min(self._latency, reading.received - reading.sent)
        self._probes -= 1
        if self.clock is None or self.clock.high - self.clock.low <= ENOUGH or not self._probes:
            return None
        at = self._next(self.clock, reading.step, now)
        return at if at < self._ends_at else None

    def _next(self, clock: Clock, step: float, now: float) -> float:
        # An answer from before the clock's step can be followed by another look at the same step; one from after it
        # has to wait for the next step. So early looks are the cheap ones, and how far they are apart follows from
        # how many looks and steps are left: with one step it is a sweep, with enough of them a bisection.
        reached = now + self._latency / 2
        steps = math.floor((self._ends_at + clock.low) / step) - math.floor((reached + clock.low) / step)
        share = _outcomes(self._probes - 1, steps - 1) / _outcomes(self._probes, steps)
        ahead = clock.high - share * (clock.high - clock.low)
        # the next step of a clock that is this far ahead
        return math.ceil((reached + ahead) / step) * step - ahead - self._latency / 2


def _outcomes(probes: int, steps: int) -> int:
    """How many intervals so many looks can tell apart, of which all but so many come before the clock's step."""
    return max(1, sum(math.comb(probes, passed) for passed in range(min(probes, steps) + 1)))


async def measure(look: Look) -> Clock | None:
    """The provider's clock, from as many looks as it takes; None if it shows none, or one that contradicts itself.

    `look` gives times of the monotonic clock; one reading of both clocks, at the start, relates all of them to ours.
    """
    anchor = time.time() - time.monotonic()
    measurement = Measurement(time.time() + SECONDS)
    try:
        async with asyncio.timeout(SECONDS):
            while reading := await look():
                ours = reading._replace(sent=reading.sent + anchor, received=reading.received + anchor)
                at = measurement.take(ours, time.monotonic() + anchor)
                if at is None:
                    break
                await asyncio.sleep(at - anchor - time.monotonic())
    except TimeoutError:
        pass
    return measurement.clock


class SharedClocks:
    """Clocks measured once for all who ask at about the same time. Belongs to one event loop, like who makes it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: dict[str, tuple[float, Clock | None]] = {}
        self._measuring: dict[str, asyncio.Lock] = {}

    async def get(self, provider: str, measured: Callable[[], Awaitable[Clock | None]]) -> Clock | None:
        """The provider's clock as known for at most ten seconds; else what `measured`, an adapter's `clock`, says."""
        async with self._measuring.setdefault(provider, asyncio.Lock()):
            at, clock = self._known.get(provider, (-math.inf, None))
            if self._now() - at > KEEP_SECONDS:
                clock = await measured()
                self._known[provider] = (self._now(), clock)
            return clock
