"""A small world of bookings that rivals change as they like, and what must be true of it after every step."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from tests.concurrency.moves import HOURS, Clock
from tests.concurrency.promises import Promises
from tests.concurrency.raw_moves import RawMoves
from tests.databases import empty
from tests.factories import ACTOR, HOUR, Factory
from tests.sql.schedules import counts, put_schedule
from tests.sql.support import at, call_json

SWEEPS = ("expire", "complete", "refresh", "close_lines")
EDITS = ("schedule", "exception", "refresh", "zone")
RAW = ("raw_insert", "raw_cancel", "raw_units", "raw_move", "raw_limits")
API = (
    *("book", "hold", "cancel", "reschedule", "pay", "pay_late", "tell_payment", "miss", "batch", "series"),
    *("join", "leave", "accept", "add_slots"),
)
MOVES = tuple(dict.fromkeys((*API, *SWEEPS, *EDITS, *RAW)))
# the second barrier; only those who go around the first one meet it
CHECKS = {"slots_booked_bookings_check", "slots_booked_units_check", "bookings_not_in_past_check"}
PATIENCE_SECONDS = 30


class Step(NamedTuple):
    """A move, and the numbers that choose what it is about."""

    move: str
    a: int = 0
    b: int = 0
    c: int = 0


def answer_of(step: Step, error: asyncpg.PostgresError) -> str:
    """The refusal, if it is one that this move may meet. Anything else, a deadlock above all, is a failure."""
    sqlstate, constraint = error.sqlstate or "", getattr(error, "constraint_name", None)
    if sqlstate.startswith("SB"):
        return str(error.args[0])
    is_foreseen = constraint in CHECKS or (constraint == "bookings_slot_fkey" and sqlstate == "23503")
    assert step.move in RAW, f"{step}: {sqlstate} {error!r} {error.as_dict()}"
    assert is_foreseen, f"{step}: {sqlstate} {error!r} {error.as_dict()}"
    return str(constraint)


class World:
    """Two resources, one with a schedule and one with slots by hand; rival connections; a clock."""

    def __init__(self, observer: asyncpg.Connection, rivals: Sequence[asyncpg.Connection]) -> None:
        self.observer = observer
        self.rivals = rivals
        self.told: Counter[str] = Counter()
        self.steps: list[str] = []
        self.failure: BaseException | None = None

    async def begin(self) -> None:
        """Everything anew: nothing of an earlier world is left."""
        await empty(self.observer)
        self.clock = Clock(at("2030-06-03T07:00"))
        self.steps = []
        make = Factory(self.observer)
        self.resources: list[UUID] = [await make.resource("scheduled"), await make.resource("by hand")]
        for n in range(3):
            await make.slot(self.resources[1], starts_at=self.clock.now + (n + 1) * HOUR, max_bookings=1 + n)
        await make.booking(await make.slot(self.resources[1], starts_at=self.clock.now + 9 * HOUR))
        weekly = [{"weekday": day, "opens": HOURS[0][0], "closes": HOURS[0][1]} for day in range(1, 8)]
        await put_schedule(
            self.observer, self.resources[0], weekly=weekly, max_bookings=2, horizon_days=1, p_now=self.clock.tick()
        )
        self.moves = [RawMoves(rival, self.clock, self.resources) for rival in self.rivals]
        self.promises = Promises(self.observer, self.clock)
        await self.promises.take_stock()

    async def alone(self, rival: int, step: Step) -> None:
        """One step, and nobody else about."""
        with self._witness(f"alone {step}"):
            answer = await self.take(rival, step)
            if step.move in EDITS and answer is None:
                await self.promises.no_time_is_given_twice()
                await self._rules_are_met()
            await self._look([step])

    async def at_once(self, steps: Sequence[Step]) -> None:
        """A step for each rival, all at the same time."""
        with self._witness(f"at once {list(steps)}"):
            async with asyncio.timeout(PATIENCE_SECONDS):
                results = await asyncio.gather(
                    *(self.take(rival, step) for rival, step in enumerate(steps)), return_exceptions=True
                )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            await self._look(steps)

    async def later(self, minutes: int, is_swept: bool = True) -> None:
        """Time passes, and the job processor runs, or has not come to it yet."""
        self.clock.tick(timedelta(minutes=minutes))
        with self._witness(f"later {minutes}, {is_swept}"):
            for sweep in SWEEPS if is_swept else ():
                await self.take(0, Step(sweep))
            await self._look([Step(sweep) for sweep in SWEEPS])

    @contextmanager
    def _witness(self, what: str) -> Iterator[None]:
        """A failure tells what led to it, for rivals do not always meet in the same way again."""
        self.steps.append(what)
        try:
            yield
        except Exception as error:
            error.add_note("\n".join(self.steps))
            self.failure = error
            raise

    async def settle(self) -> None:
        """Nobody is about any more: look at what they left behind."""
        await self.promises.take_stock()
        await self.promises.hold()

    async def take(self, rival: int, step: Step) -> str | None:
        try:
            answer = await getattr(self.moves[rival], step.move)(step.a, step.b, step.c)
        except asyncpg.PostgresError as error:
            answer = answer_of(step, error)
        self.told[f"{step.move}: {answer or 'done'}"] += 1
        return answer  # type: ignore[no-any-return]

    async def _look(self, steps: Sequence[Step]) -> None:
        if any(step.move in EDITS or step.move in RAW for step in steps):
            await self.promises.take_stock()
        await self.promises.hold()

    async def _rules_are_met(self) -> None:
        """Refreshed once more, nothing changes."""
        plan = await call_json(
            self.observer,
            "refresh_future_schedule",
            p_actor=ACTOR,
            p_resource_id=self.resources[0],
            p_now=self.clock.now,
        )
        assert counts(plan).keys() <= {"kept", "blocked"}, counts(plan)
