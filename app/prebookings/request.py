"""One choice of a prebooking, asked for at its provider: what is about to be sent is on record before it is."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from app.adapters.adapter import Adapter, Answer, Credentials, Order
from app.adapters.reading import UNLIKELY
from app.database import Database
from app.handlers import Job
from app.prebookings import queries
from app.prebookings.instant import Instant

# Seconds. The record is written this long before the instant, so that nothing of ours is in the way then.
RECORD_AHEAD = 0.5


class Request:
    """What asking for one choice takes."""

    def __init__(
        self,
        db: Database,
        job: Job,
        prebooking_id: UUID,
        choice: int,
        order: Order,
        adapter: Adapter,
        credentials: Credentials,
        instant: Instant,
    ) -> None:
        self._db = db
        self._job = job
        self._prebooking_id = prebooking_id
        self._choice = choice
        self._order = order
        self._adapter = adapter
        self._credentials = credentials
        self._instant = instant
        self._attempt_id: UUID | None = None
        # by the provider's clock
        self._fired_at: datetime | None = None

    async def ask(self) -> Answer:
        """Ask for it once, at the instant. Where no answer came, look up what became of it. Raises lease_lost."""
        self._attempt_id = self._fired_at = None
        answer = self._safe(await self._adapter.book(self._order, self._credentials, self._fire))
        attempt_id = await self._attempt()
        await self._record(attempt_id, answer)
        return await self.look_up(attempt_id) if answer.finding == "unknown" else answer

    async def look_up(self, attempt_id: UUID) -> Answer:
        """What became of an attempt of which nobody knows: booked, absent, or still unknown."""
        answer = self._safe(await self._adapter.lookup(self._order, self._credentials))
        if answer.finding not in {"booked", "absent"}:
            answer = replace(answer, finding="unknown")
        await self._record(attempt_id, answer)
        return answer

    async def _fire(self) -> None:
        await self._instant.wait(RECORD_AHEAD)
        await self._attempt()
        await self._instant.wait()
        self._fired_at = self._instant.provider_time()

    async def _attempt(self) -> UUID:
        """The attempt on record; what did not get as far as sending is one too."""
        if self._attempt_id is None:
            self._attempt_id = await queries.begin_attempt(self._db, self._job, self._prebooking_id, self._choice)
        return self._attempt_id

    def _safe(self, answer: Answer) -> Answer:
        confirmation = answer.confirmation and self._credentials.hide(answer.confirmation, UNLIKELY)
        return replace(answer, detail=self._credentials.hide(answer.detail), confirmation=confirmation)

    async def _record(self, attempt_id: UUID, answer: Answer) -> None:
        await queries.end_attempt(
            self._db,
            attempt_id,
            answer.finding,
            detail=answer.detail or None,
            confirmation=answer.confirmation,
            fired_at=self._fired_at,
        )
