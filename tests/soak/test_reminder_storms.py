"""The races of tests/messages/test_reminders.py, a thousand of them."""

import asyncpg

from tests.conftest import Connect
from tests.factories import Factory
from tests.messages.test_reminders import race_reminders

BATCHES = 10


async def test_in_a_thousand_races_no_reminder_is_begun_after_its_booking_changed(
    conn: asyncpg.Connection, connect: Connect, make: Factory
) -> None:
    await race_reminders(BATCHES, conn, connect, make)
