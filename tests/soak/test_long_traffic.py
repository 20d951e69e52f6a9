"""Thirty-two connections doing what they like for a minute: no deadlock, and the counters add up."""

import asyncio
import time

import pytest

from tests.concurrency.test_random_traffic import RIVALS, ROUNDS, traffic
from tests.conftest import Connect

SECONDS = 60


@pytest.mark.parametrize("seed", range(5))
async def test_a_minute_of_random_traffic_neither_deadlocks_nor_miscounts(connect: Connect, seed: int) -> None:
    end = time.monotonic() + SECONDS
    async with asyncio.timeout(2 * SECONDS):
        world = await traffic(connect, seed, lambda _: time.monotonic() > end)

    assert world.told.total() > RIVALS * ROUNDS
