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

from app.providers.adapter import Clock

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


def next_look(clock: Clock, step: float, latency: float, now: float, probes: int, steps: int) -> float:
    """When to send the next request, by our clock, with so many probes and so many of the clock's steps left.

    A look that comes before the clock's step can be followed by another in the same step; one that comes after it
    has to wait for the next. So looks are not halved: early ones are cheap, and as many are spent on a step as make
    all outcomes equally likely (with one step a sweep, with enough of them a bisection).
    """
    share = _outcomes(probes - 1, steps - 1) / _outcomes(probes, steps)
    ahead = clock.high - share * (clock.high - clock.low)
    reached_in = latency / 2
    # the provider's time at which a clock that is this far ahead takes a step, and a request sent now can be there
    shown = math.ceil((now + reached_in + ahead) / step) * step
    return shown - ahead - reached_in


def _outcomes(probes: int, steps: int) -> int:
    """How many intervals can be told apart."""
    return sum(math.comb(probes, passed) for passed in range(min(probes, steps) + 1))


async def measure(look: Look) -> Clock | None:
    """The provider's clock, from as many looks as it takes; None if it shows none, or one that contradicts itself.

    `look` gives times of the monotonic clock; one reading of both clocks, at the start, relates all of them to ours.
    """
    anchor = time.time() - time.monotonic()
    ends_at = time.monotonic() + SECONDS
    clock: Clock | None = None
    latency = math.inf
    try:
        async with asyncio.timeout(SECONDS):
            for left in reversed(range(PROBES)):
                reading = await look()
                if reading is None:
                    return clock
                latency = min(latency, reading.received - reading.sent)
                seen = bounds(reading._replace(sent=reading.sent + anchor, received=reading.received + anchor))
                clock = both(clock, seen) if clock and seen else seen
                steps = math.floor((ends_at - time.monotonic()) / reading.step)
                if clock is None or clock.high - clock.low <= ENOUGH or not (left and steps):
                    return clock
                at = next_look(clock, reading.step, latency, anchor + time.monotonic(), left, steps)
                await asyncio.sleep(at - anchor - time.monotonic())
    except TimeoutError:
        pass
    return clock


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
