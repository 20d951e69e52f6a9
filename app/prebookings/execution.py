"""One prebooking at a provider: its choices one after the other, until one is had or nothing is left to ask for."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from app.adapters.adapter import Adapter, Answer, Clock, Credentials, Order
from app.adapters.clock import SharedClocks
from app.database import Database
from app.encryption import AlteredError, MissingKeyError
from app.handlers import Job, Outcome, Retry, Settled, Snooze
from app.prebookings import queries
from app.prebookings.instant import Instant
from app.prebookings.queries import Plan, Result
from app.prebookings.request import Request
from app.providers.vault import UNREADABLE, unseal
from app.security import Actor
from app.settings import Settings

ACTOR = Actor("system", "prebooking")
# A provider that is slow to open, or has no time for us, is asked again until so long after the opening; in one go no
# longer than so many seconds, for a bounded run may end, and then the job waits.
CUT_OFF = timedelta(seconds=30)
IN_ONE_GO = 3.0
PAUSE = 0.25

PASSED_OVER = {"full", "refused"}
NOT_YET = {"not_open_yet", "rate_limited"}
FINAL = {"not_open_yet", "bad_credentials"}


class Means(NamedTuple):
    """What all executions of one process share: also what is known of the clocks of providers."""

    db: Database
    settings: Settings
    clocks: SharedClocks
    find_adapter: Callable[[str], type[Adapter]]


class Execution:
    """What one attempt at the job does: it goes on with the choice at which the one before it stood."""

    def __init__(self, means: Means, job: Job, prebooking_id: UUID, plan: Plan) -> None:
        self._means = means
        self._job = job
        self._id = prebooking_id
        self._plan = plan
        self._waited = 0.0

    async def run(self) -> Outcome:
        """Book one of the choices, or say why not. Raises lease_lost."""
        if self._plan.is_booked:
            return await self._finish(Result("succeeded", self._plan.choice, self._plan.confirmation))
        if not self._plan.is_enabled:
            return await self._fail("provider_disabled")
        try:
            adapter = self._means.find_adapter(self._plan.adapter).of(self._plan.settings)
        except ValueError as error:
            return await self._fail("provider_broken", str(error))
        try:
            return await self._book(adapter, self._credentials())
        except MissingKeyError as error:
            # another process has it already
            told = f"ENCRYPTION_KEYS does not have the key {error}"
            return await self._again("encryption_unavailable", told, is_ours=True)
        except AlteredError:
            return await self._fail("bad_credentials", UNREADABLE)
        finally:
            await adapter.close()

    def _credentials(self) -> Credentials:
        if self._plan.sealed is None:
            return Credentials({})
        keys = self._means.settings.keys_of_credentials
        if keys is None:
            raise MissingKeyError(self._plan.sealed.key_id)
        return unseal(keys, self._plan.provider, self._plan.customer["ref"] or "", self._plan.sealed)

    async def _book(self, adapter: Adapter, credentials: Credentials) -> Outcome:
        instant = Instant(self._plan.fire_at, await self._clock(adapter))
        choice, unclear, refusal = self._plan.choice, self._plan.unclear_attempt_id, None
        while choice <= len(self._plan.targets):
            order = Order(self._plan.targets[choice - 1], f"{self._id}:{choice}", self._plan.customer)
            request = Request(self._means.db, self._job, self._id, choice, order, adapter, credentials, instant)
            answer = await request.look_up(unclear) if unclear else await request.ask()
            if unclear and (
                answer.finding == "absent" or (answer.finding == "unknown" and adapter.honours_idempotency_key)
            ):
                # nothing came of it, or the same key makes the same of it once more
                unclear = None
                continue
            if answer.finding in PASSED_OVER:
                refusal, choice = refusal or answer, choice + 1
            elif answer.finding in NOT_YET and (pause := self._pause(answer, instant)) is not None:
                if self._waited + pause > IN_ONE_GO:
                    return Snooze(datetime.now(UTC) + timedelta(seconds=pause))
                await asyncio.sleep(pause)
                self._waited += pause
            else:
                return await self._end(choice, answer)
        return await self._fail(refusal.finding if refusal else "full", refusal.detail if refusal else None)

    async def _clock(self, adapter: Adapter) -> Clock | None:
        if self._plan.fire_at < datetime.now(UTC):
            # late already: no time to lose
            return None
        return await self._means.clocks.get(self._plan.provider, adapter.clock)

    def _pause(self, answer: Answer, instant: Instant) -> float | None:
        """How many seconds to wait before asking again; None if that is too late."""
        pause = max(PAUSE * random.uniform(1, 2), answer.retry_after or 0.0)  # noqa: S311 - no secret
        in_time = instant.provider_time() + timedelta(seconds=pause) < self._plan.opens_at + CUT_OFF
        return pause if in_time else None

    async def _end(self, choice: int, answer: Answer) -> Outcome:
        if answer.finding == "booked":
            return await self._finish(Result("succeeded", choice, answer.confirmation))
        if answer.finding in FINAL:
            return await self._fail(answer.finding, answer.detail)
        return await self._again(answer.finding, answer.detail, answer.retry_after)

    async def _again(self, reason: str, detail: str, after: float | None = None, *, is_ours: bool = False) -> Outcome:
        if self._job.attempt >= self._job.max_attempts:
            return await self._fail(reason, detail)
        return Retry(f"{reason}: {detail}", timedelta(seconds=after) if after is not None else None, is_ours)

    async def _fail(self, reason: str, detail: str | None = None) -> Outcome:
        return await self._finish(Result("failed", reason=reason, detail=detail))

    async def _finish(self, result: Result) -> Outcome:
        await queries.finish_prebooking(self._means.db, ACTOR, self._job, self._id, result)
        return Settled()
