"""A queue as a run sees it: what runs of it, what was claimed ahead, and how it has fared."""

import asyncio
from dataclasses import dataclass

from app.handlers import Job, Outcome, Retry


@dataclass(slots=True)
class Queue:
    """What a run knows of a queue it claims from."""

    name: str
    needs: float
    stagger: float = 0.0
    running: int = 0
    next_start: float = 0.0
    failures: int = 0
    # something in it needs more time than is left
    is_closed: bool = False
    # a claim that is under way while what came of the one before begins, and the room that is kept for it
    ahead: "asyncio.Task[list[Job]] | None" = None
    promised: int = 0

    def note(self, outcome: Outcome) -> None:
        """Count failures on end; one that is our own fault says nothing of whom the queue is for."""
        match outcome:
            case Retry(is_ours=True):
                pass
            case Retry():
                self.failures += 1
            case _:
                self.failures = 0
