"""Three hundred workers, each killed while it books outside: nothing is booked twice, and everything ends."""

import os
import random

import pytest

from app.database import Database
from app.settings import Settings
from tests.adapters.support import running_simulator
from tests.conftest import Connect
from tests.prebookings.killing import (
    LATENCY,
    assert_nothing_is_double_and_nothing_is_left,
    assert_some_died_at_work,
    kill_workers,
)
from tests.prebookings.support import Gym, with_key

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "150"))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("honours_keys", [True, False])
async def test_of_workers_that_are_killed_none_leaves_a_booking_twice_or_a_prebooking_without_an_end(
    dsn: str, connect: Connect, database: Database, settings: Settings, honours_keys: bool
) -> None:
    async with running_simulator() as simulator:
        gym = Gym(await connect(), database, with_key(settings), simulator)
        await gym.open()
        await (gym.simulator.behave(latency=LATENCY) if honours_keys else gym.forget_keys(latency=LATENCY))

        wanted = await kill_workers(gym, dsn, ROUNDS, random.Random())  # noqa: S311 - no secret

        await assert_nothing_is_double_and_nothing_is_left(gym, wanted)
        await assert_some_died_at_work(gym)
