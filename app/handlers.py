"""What a feature says about a kind of job: who does it, in which queue, and what may come of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

DEFAULT_QUEUE = "default"


# which job, and under which token it is had
Lease = tuple[UUID, int]


class Job(NamedTuple):
    """A job as its handler gets it: leased to this process alone, and to be done again if it does not answer."""

    id: UUID
    job_type: str
    payload: Mapping[str, Any]
    attempt: int
    max_attempts: int
    lease_token: int
    booking_id: UUID | None
    scheduled_at: datetime

    @property
    def lease(self) -> Lease:
        """What says that this is still ours."""
        return self.id, self.lease_token

    def idempotency_key(self, effect: str) -> str:
        """The key to send with an effect outside: the same at every attempt, so that a provider does it once."""
        return f"{self.id}:{effect}"


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A job to enqueue in the transaction that settles this one."""

    job_type: str
    payload: Mapping[str, Any] | None = None
    run_at: datetime | None = None
    dedupe_key: str | None = None
    queue: str = DEFAULT_QUEUE
    priority: int = 1
    max_attempts: int = 4
    booking_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Ok:
    """It is done. The result stands beside the job: no secrets, no personal data."""

    result: Mapping[str, Any] | None = None
    follow_ups: tuple[FollowUp, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """It is done, and `complete_leased_job` has said so in the transaction of its effect."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It did not work this time: again later, no sooner than `after`, while attempts are left.

    Where the fault `is_ours` and another process may do better, it says nothing against the queue.
    """

    error: str
    after: timedelta | None = None
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Permanent:
    """It will never work."""

    error: str


@dataclass(frozen=True, slots=True)
class Skip:
    """There is nothing to be done any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Snooze:
    """Not yet: at that time, and this was no attempt."""

    until: datetime


Outcome = Ok | Settled | Retry | Permanent | Skip | Snooze


class Handler(NamedTuple):
    """Who does the jobs of a type.

    `run` is cancelled after `limit` seconds, or earlier at the end of a bounded run, which does not start it with less
    than `needs` seconds left. It runs with no transaction open and no connection held. What it raises is a Retry.
    A `queue` that ends in a star is all queues whose names begin so, of those that somebody has set.
    Failures on end pause the queue, unless each of its jobs is for somebody else, so that `pauses_queue` is false.
    """

    job_type: str
    run: Callable[[Job], Awaitable[Outcome]]
    queue: str = DEFAULT_QUEUE
    limit: float = 6.0
    needs: float = 0.5
    pauses_queue: bool = True

    def takes_from(self, queue: str) -> bool:
        """Whether its jobs come in that queue."""
        return queue.startswith(self.queue[:-1]) if self.queue.endswith("*") else queue == self.queue
