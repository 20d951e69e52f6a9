"""The rounds of tests/webhooks/test_crashes.py, two hundred of them."""

import asyncpg

from app.settings import Settings
from tests.factories import Factory
from tests.jobs.victims import Victims
from tests.webhooks.conftest import receiver, settings  # noqa: F401 - fixtures
from tests.webhooks.support import Receiver
from tests.webhooks.test_crashes import kill_in_rounds, victims  # noqa: F401 - a fixture

ROUNDS = 200


async def test_two_hundred_killed_processes_cost_duplicates_of_the_same_ids_at_most(
    conn: asyncpg.Connection,
    make: Factory,
    settings: Settings,  # noqa: F811
    victims: Victims,  # noqa: F811
    receiver: Receiver,  # noqa: F811
) -> None:
    await kill_in_rounds(ROUNDS, conn, make, settings, victims, receiver)
