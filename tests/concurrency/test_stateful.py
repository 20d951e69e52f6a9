"""Whatever anybody does to the engine, in whatever order, alone or at once: every promise holds after every step."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncpg
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.concurrency.world import MOVES, Step, World

NUMBERS = st.integers(0, 9)
STEPS = st.builds(Step, st.sampled_from(MOVES), NUMBERS, NUMBERS, NUMBERS)
# for a place, which is what most of the promises are about
RUSHES = st.builds(
    Step, st.sampled_from(["hold", "book", "join", "accept", "pay_late", "cancel"]), NUMBERS, NUMBERS, NUMBERS
)
MINUTES = st.sampled_from([16, 1, 61, 24 * 60])
RIVALS = 3
HOW_MUCH = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


async def open_world(dsn: str) -> World:
    connections = [await asyncpg.connect(dsn, server_settings={"search_path": "holdfast"}) for _ in range(RIVALS + 1)]
    return World(connections[0], connections[1:])


async def close_world(world: World) -> None:
    for connection in (world.observer, *world.rivals):
        await connection.close()


def run_world(dsn: str, how_much: settings = HOW_MUCH, chosen_seed: int = 0) -> World:
    """Play with one world again and again, anew each time; returns it with what its rivals were told."""
    with asyncio.Runner() as runner:
        world = runner.run(open_world(dsn))

        @seed(chosen_seed)
        class Play(RuleBasedStateMachine):
            """The rules of the game: a failure is shown as the shortest list of them."""

            def run(self, play: Coroutine[Any, Any, None]) -> None:
                runner.run(play)

            @initialize()
            def begin(self) -> None:
                self.run(world.begin())

            @rule(rival=st.integers(0, RIVALS - 1), step=STEPS)
            def alone(self, rival: int, step: Step) -> None:
                self.run(world.alone(rival, step))

            @rule(steps=st.lists(STEPS, min_size=2, max_size=RIVALS))
            def at_once(self, steps: list[Step]) -> None:
                self.run(world.at_once(steps))

            @rule(steps=st.lists(RUSHES, min_size=1, max_size=RIVALS))
            def rush(self, steps: list[Step]) -> None:
                self.run(world.at_once(steps))

            @rule(minutes=MINUTES, is_swept=st.booleans())
            def later(self, minutes: int, is_swept: bool) -> None:
                self.run(world.later(minutes, is_swept))

        try:
            run_state_machine_as_test(Play, settings=how_much)
        except Flaky as flaky:
            # what rivals did once is a failure, though they would not do it again
            raise world.failure or flaky from flaky
        finally:
            runner.run(close_world(world))
    return world


def test_every_promise_holds_after_every_step(dsn: str) -> None:
    world = run_world(dsn)

    # each move got somewhere, or it proves nothing
    done = {line.partition(":")[0] for line in world.told if line.endswith(": done")}
    assert set(MOVES) - done == set()
