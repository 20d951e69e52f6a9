"""The promises of tests/concurrency/test_stateful.py, over many thousands of steps that no run before has taken."""

import pytest
from hypothesis import HealthCheck, settings

from tests.concurrency.test_stateful import run_world
from tests.concurrency.world import MOVES

SEEDS = range(12)
HOW_MUCH = settings(
    max_examples=60, stateful_step_count=100, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_holds_after_every_step_of_a_long_play(dsn: str, seed: int) -> None:
    world = run_world(dsn, HOW_MUCH, seed)

    done = {line.partition(":")[0] for line in world.told if line.endswith(": done")}
    # a rare one may never have had anything to do
    assert len(set(MOVES) - done) < 3
