"""How much is measured of the job engine: a full run, or a quick one that only shows that everything works."""

from dataclasses import dataclass, replace

from benchmarks import plan
from benchmarks.plan import Plan


@dataclass(frozen=True)
class QueuePlan:
    """The sizes of one run. Every system gets the same jobs."""

    rounds: int
    jobs: int
    """No-ops that a drain finds due."""
    future: int
    """Jobs of the far future that a backlog holds."""
    claims: int
    at_once: int
    """Jobs that are due at one instant."""
    overlapping: int
    """Jobs that the overlapping runs find due."""
    snapshot_seconds: float
    """For how long somebody else holds a snapshot open."""
    old: int
    """Ended jobs that are forgotten while others are claimed."""
    bookings: Plan
    """What is completed set-based, and booked with the trigger and without it."""


FULL = QueuePlan(
    rounds=3,
    jobs=10_000,
    future=1_000_000,
    claims=1_000,
    at_once=500,
    overlapping=2_000,
    snapshot_seconds=60,
    old=100_000,
    bookings=replace(plan.FULL, rounds=1, crowd=0, crowd_turns=1, due=100_000, due_slots=5_000),
)

QUICK = QueuePlan(
    rounds=1,
    jobs=500,
    future=5_000,
    claims=50,
    at_once=50,
    overlapping=100,
    snapshot_seconds=3,
    old=5_000,
    bookings=replace(plan.QUICK, crowd=0),
)
