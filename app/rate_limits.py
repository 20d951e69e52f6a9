"""How many requests a minute one caller may make, over all processes on one database.

A process lets a twentieth of a limit pass by itself, then counts it in the database, which says whether there is more.
So the limit may be passed by that much for each process, and a request seldom waits for a round trip.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog
from fastapi import Request

from app.database import TROUBLE, Database
from app.errors import Problem
from app.settings import Settings

WINDOW_SECONDS = 60
PORTION = 20
# Nobody is refused because the count does not come.
PATIENCE_SECONDS = 1.0
MAX_CALLERS = 10_000
READS = {"GET", "HEAD"}

# Failed authentications of one address in a minute, in one process.
MAX_FAILURES = 20

logger = structlog.get_logger(__name__)


class Standing(NamedTuple):
    """How one caller stands: the limit's name, requests a minute, what is left, and in how many seconds all is back."""

    policy: str
    quota: int
    remaining: int
    reset_seconds: float

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What draft-ietf-httpapi-ratelimit-headers says of it."""
        name, reset = self.policy, math.ceil(max(self.reset_seconds, 0))
        return [
            (b"ratelimit-policy", f'"{name}";q={self.quota};w={WINDOW_SECONDS}'.encode()),
            (b"ratelimit", f'"{name}";r={max(self.remaining, 0)};t={reset}'.encode()),
        ]


class _Caller:
    """What this process knows of one caller under one policy."""

    def __init__(self, quota: int, now: float) -> None:
        self.uncounted = 0
        self.since = now
        self.refused_until = 0.0
        self.known = quota
        self.known_reset = 0.0
        self.counting = asyncio.Lock()


class RateLimits:
    """The limits that the settings give, kept in this process's memory and in the table `rate_limits`."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quotas = {
            (False, "read"): settings.rate_limit_read,
            (False, "write"): settings.rate_limit_write,
            (True, "read"): settings.rate_limit_key_read,
            (True, "write"): settings.rate_limit_key_write,
        }
        self._callers: dict[tuple[str, str], _Caller] = {}
        # whether it matters who calls
        self.are_on = any(self._quotas.values())

    async def admit(self, request: Request, principal: str, *, by_key: bool = False) -> None:
        """Count the request against its caller's limit, and leave the standing for the answer's headers.

        Raises Problem `rate_limited`.
        """
        policy = "read" if request.method in READS else "write"
        quota = self._quotas[by_key, policy]
        if not quota:
            return
        caller = self._caller(principal, policy, quota)
        portion = max(quota // PORTION, 1)
        if caller.uncounted >= portion and self._clock() >= caller.refused_until:
            async with caller.counting:
                # somebody may have counted while we waited
                if caller.uncounted >= portion and self._clock() >= caller.refused_until:
                    await self._count(request.app.state.database, caller, (principal, policy, quota))
        wait = caller.refused_until - self._clock()
        if wait <= 0:
            caller.uncounted += 1
        request.state.rate_limit = _standing(caller, policy, quota)
        if wait > 0:
            raise Problem("rate_limited", retry_after=max(math.ceil(wait), 1))

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._callers)

    def _caller(self, principal: str, policy: str, quota: int) -> _Caller:
        now = self._clock()
        caller = self._callers.get((principal, policy))
        if caller is None:
            if len(self._callers) >= MAX_CALLERS:
                # the one met first: what it has spent is in the database, up to the last portion
                del self._callers[next(iter(self._callers))]
            caller = self._callers[principal, policy] = _Caller(quota, now)
        elif now - caller.since >= WINDOW_SECONDS and now >= caller.refused_until:
            # so few that they were not worth a round trip
            caller.uncounted, caller.since = 0, now
            caller.known, caller.known_reset = quota, 0.0
        return caller

    async def _count(self, db: Database, caller: _Caller, whose: tuple[str, str, int]) -> None:
        principal, policy, quota = whose
        cost, caller.uncounted = caller.uncounted, 0
        caller.since = self._clock()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                row = await db.call_row(
                    "spend_rate_limit", p_principal=principal, p_policy=policy, p_cost=cost, p_quota=quota
                )
        except TROUBLE as error:
            logger.warning("requests not counted", error=type(error).__name__)
            return
        caller.known, caller.known_reset = row["remaining"], row["reset_seconds"]
        if caller.known < 1:
            one = WINDOW_SECONDS / quota
            caller.refused_until = self._clock() + caller.known_reset - WINDOW_SECONDS + one


class Failures:
    """How often each address failed to show who it is, in this process and its memory alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent_until: dict[str, float] = {}

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._spent_until)

    def count(self, principal: str) -> None:
        """Count a failure. Raises Problem `rate_limited` where they are too many."""
        now, one = self._clock(), WINDOW_SECONDS / MAX_FAILURES
        spent_until = max(self._spent_until.pop(principal, now), now) + one
        wait = spent_until - now - WINDOW_SECONDS
        if len(self._spent_until) >= MAX_CALLERS:
            del self._spent_until[next(iter(self._spent_until))]
        # those that went on guessing stand last, and are forgotten last
        self._spent_until[principal] = min(spent_until, now + WINDOW_SECONDS)
        if wait > 0:
            raise Problem("rate_limited", "Too many tokens were wrong.", retry_after=max(math.ceil(wait), 1))


def _standing(caller: _Caller, policy: str, quota: int) -> Standing:
    spent = caller.uncounted * WINDOW_SECONDS / quota
    return Standing(policy, quota, caller.known - caller.uncounted, caller.known_reset + spent)
