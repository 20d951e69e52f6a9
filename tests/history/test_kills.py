"""kill -9 of each of the three, once: tests/soak/test_killed_everything.py does it a hundred times."""

from tests.history.installation import VICTIMS, installed
from tests.history.killing import assert_every_promise_was_kept, assert_it_was_worth_it, kill_in_rounds


async def test_whoever_is_killed_what_was_answered_is_true_and_nothing_is_half_done() -> None:
    async with installed() as installation:
        traffic = await kill_in_rounds(installation, len(VICTIMS), seed=1)

        await assert_every_promise_was_kept(installation, traffic)
        assert_it_was_worth_it(traffic, len(VICTIMS))
