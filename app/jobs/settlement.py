"""What becomes of a job that was run, as `settle_jobs` takes it."""

from collections import Counter
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic_core import to_jsonable_python

from app.handlers import FollowUp, Job, Ok, Outcome, Permanent, Retry, Settled, Skip, Snooze

Word = Literal["processed", "skipped", "failed", "permanent", "snoozed", "released", "budget"]

# what the report of a run counts a word as; a failure is told apart by whether attempts are left
TALLIES: dict[Word, str] = {
    "processed": "processed",
    "skipped": "skipped",
    "permanent": "discarded",
    "snoozed": "released",
    "released": "released",
}


class Settlement(NamedTuple):
    """How one job is to be settled. `after` is in seconds from now, by the database's clock."""

    outcome: Word
    error_message: str | None = None
    result: Any = None
    run_at: datetime | None = None
    after: float | None = None
    follow_ups: tuple[FollowUp, ...] = ()

    def of(self, job: Job) -> dict[str, Any]:
        """The same with the lease it needs, as JSON."""
        told = {name: value for name, value in self._asdict().items() if value is not None and value != ()}
        told |= {"id": str(job.id), "lease_token": job.lease_token}
        if self.after is not None:
            told["after"] = f"{self.after} seconds"
        return {name: to_jsonable_python(value) for name, value in told.items()}

    def tally(self, job: Job) -> str:
        """What the report of a run counts it as."""
        retried = "discarded" if job.attempt >= job.max_attempts else "retried"
        return TALLIES.get(self.outcome, retried)


COMPLETED = Settlement("processed")
"""Done, with nothing to say and nothing to follow, as most jobs end: all of them are settled in one cheaper call."""


def settlement_of(outcome: Outcome) -> Settlement | None:  # noqa: PLR0911 - one for each
    """How a handler's outcome is settled; None where the handler has done so itself."""
    match outcome:
        case Settled():
            return None
        case Ok(None, ()):
            return COMPLETED
        case Ok(result, follow_ups):
            return Settlement("processed", result=result, follow_ups=follow_ups)
        case Retry(error, after):
            return Settlement("failed", error, after=after.total_seconds() if after else None)
        case Permanent(error):
            return Settlement("permanent", error)
        case Skip(reason):
            return Settlement("skipped", reason)
        case Snooze(until):
            return Settlement("snoozed", run_at=until)
    # a handler need not have asked mypy
    return Settlement("failed", "it answered no outcome")


def report_of(tally: Counter[str]) -> dict[str, Any]:
    """The numbers of a run as its record keeps them."""
    words = (
        *("claimed", "processed", "retried", "skipped", "discarded", "released", "rescued", "cancelled", "stale"),
        "failed_sweeps",
    )
    return {word: tally[word] for word in words}
