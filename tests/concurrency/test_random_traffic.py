"""Thirty-two connections doing what they like: no deadlock, and the counters add up."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta

import asyncpg
import pytest

from tests.audit.support import faults
from tests.concurrency.rivals import connections
from tests.concurrency.world import MOVES, Step, World
from tests.conftest import Connect

RIVALS = 32
ROUNDS = 30
# most people book; rules change now and then
BUSY = ("book", "book", "book", "hold", "hold", "cancel", "cancel", "reschedule", "batch", "join", *MOVES)


class Rival:
    """One connection with a mind of its own."""

    def __init__(self, world: World, number: int, seed: int) -> None:
        self.world = world
        self.number = number
        self.random = random.Random(seed)  # noqa: S311 - a repeatable choice

    async def run(self, is_over: Callable[[int], bool]) -> None:
        """Move after move until it is over, which may depend on how many there were."""
        done = 0
        while not is_over(done):
            step = Step(self.random.choice(BUSY), *(self.random.randrange(10) for _ in range(3)))
            # a deadlock, a time-out or an error of ours ends the test here
            await self.world.take(self.number, step)
            if self.random.randrange(20) == 0:
                self.world.clock.tick(timedelta(minutes=self.random.choice([1, 16, 90])))
            done += 1


async def traffic(connect: Connect, seed: int, is_over: Callable[[int], bool]) -> World:
    """Everybody at once until it is over, and then a look at what they left behind."""
    world = World(await connect(), await connections(connect, RIVALS))
    await world.begin()
    async with asyncio.TaskGroup() as rivals:
        for number in range(RIVALS):
            rivals.create_task(Rival(world, number, seed * 1000 + number).run(is_over))
    await world.settle()
    assert await faults(world.observer) == []
    return world


@pytest.mark.parametrize("seed", [1])
async def test_random_traffic_neither_deadlocks_nor_miscounts(
    conn: asyncpg.Connection, connect: Connect, seed: int
) -> None:
    async with asyncio.timeout(60):
        world = await traffic(connect, seed, lambda done: done == ROUNDS)

    assert world.told.total() == RIVALS * ROUNDS
    done = {line.partition(":")[0] for line in world.told if line.endswith(": done")}
    # the rarer ones may all have met a full slot
    assert {"book", "hold", "cancel", "schedule"} <= done
    assert world.told["book: slot_full"] > 0
    assert await conn.fetchval("SELECT count(*) FROM bookings WHERE status = 'expired'") > 0
