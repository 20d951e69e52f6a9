"""A hundred rounds of kill -9 under load, and a checker that reads what all clients were told."""

import os
import random

import pytest

from tests.history.installation import installed
from tests.history.killing import assert_every_promise_was_kept, assert_it_was_worth_it, kill_in_rounds

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "100"))


@pytest.mark.timeout(3600)
async def test_in_a_hundred_rounds_no_answer_is_a_lie_and_no_promise_is_broken() -> None:
    seed = int(os.environ.get("SOAK_SEED", random.randrange(10**6)))  # noqa: S311 - a repeatable choice
    print("SOAK_SEED", seed)  # noqa: T201 - shown when it fails
    async with installed() as installation:
        traffic = await kill_in_rounds(installation, ROUNDS, seed)

        await assert_every_promise_was_kept(installation, traffic)
        assert_it_was_worth_it(traffic, ROUNDS)
