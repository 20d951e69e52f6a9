"""kill -9 of workers that book outside, at any point of their work: nothing is booked twice, and everything ends."""

import random

import pytest

from tests.prebookings.killing import (
    LATENCY,
    assert_nothing_is_double_and_nothing_is_left,
    assert_some_died_at_work,
    kill_workers,
)
from tests.prebookings.support import Gym

ROUNDS = 7


@pytest.mark.parametrize("honours_keys", [True, False])
async def test_whenever_a_worker_is_killed_nothing_is_booked_twice_and_every_prebooking_ends(
    gym: Gym, dsn: str, honours_keys: bool
) -> None:
    await (gym.simulator.behave(latency=LATENCY) if honours_keys else gym.forget_keys(latency=LATENCY))

    wanted = await kill_workers(gym, dsn, ROUNDS, random.Random(4711))  # noqa: S311 - no secret

    await assert_nothing_is_double_and_nothing_is_left(gym, wanted)
    await assert_some_died_at_work(gym)
