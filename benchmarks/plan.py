"""How much is measured: a full run, or a quick one that only shows that everything works."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The sizes of one run. Both sides of a comparison get the same seconds and the same rows."""

    rounds: int
    seconds: float
    warm_up_seconds: float
    slots: int
    customers: int
    crowd: int
    """Bookings that the crowded slot already holds."""
    crowd_turns: int
    due: int
    """Bookings that each completion run finds due."""
    due_slots: int
    horizons: int
    """How many of the horizons are refreshed, the shortest first."""


FULL = Plan(
    rounds=3,
    seconds=8,
    warm_up_seconds=4,
    slots=10_000,
    customers=5_000,
    crowd=100_000,
    crowd_turns=5,
    due=20_000,
    due_slots=1_000,
    horizons=3,
)

QUICK = Plan(
    rounds=1,
    seconds=1,
    warm_up_seconds=0,
    slots=500,
    customers=100,
    crowd=1_000,
    crowd_turns=1,
    due=1_000,
    due_slots=50,
    horizons=1,
)

# Either side has so many requests under way, and as many database connections; the API's processes share them.
CONNECTIONS = 16
WORKERS = 2
PGBENCH_THREADS = 2
COMPLETION_BATCH = 500
