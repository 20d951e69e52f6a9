"""Ten thousand callers who hang up at any point of their way: no transaction, no lock, no half of a booking is left."""

import random

from tests.conftest import Connect
from tests.factories import Factory
from tests.faults.test_hang_ups import assert_nothing_is_left, hang_up_anywhere, live  # noqa: F401 - a fixture
from tests.live import LiveServer


async def test_ten_thousand_callers_who_hang_up_anywhere_leave_nothing(
    live: LiveServer,  # noqa: F811
    make: Factory,
    connect: Connect,
) -> None:
    await hang_up_anywhere(live, make, 10_000, random.Random())  # noqa: S311 - no secret

    await assert_nothing_is_left(live, make, await connect())
