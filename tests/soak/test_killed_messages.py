"""The rounds of tests/messages/test_kills.py, two hundred of them."""

from asyncio.subprocess import Process

import asyncpg
import pytest

from app.database import Database
from app.settings import Settings
from tests.factories import Factory
from tests.messages.conftest import channels, mail, settings, sms  # noqa: F401 - fixtures
from tests.messages.support import MailServer, SmsProvider
from tests.messages.test_kills import kill_in_rounds, mother  # noqa: F401 - a fixture

ROUNDS = 200


@pytest.mark.usefixtures("channels")
async def test_two_hundred_killed_senders_lose_no_message(
    conn: asyncpg.Connection,
    make: Factory,
    database: Database,
    settings: Settings,  # noqa: F811
    mail: MailServer,  # noqa: F811
    sms: SmsProvider,  # noqa: F811
    mother: Process,  # noqa: F811
) -> None:
    await kill_in_rounds(ROUNDS, conn, make, database, settings, mail, sms, mother)
