"""kill -9 of whoever sends, at any point: no message is lost, and a second mail carries the Message-ID of the first."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.database import Database
from app.settings import Settings
from tests.concurrency.rivals import until_buried
from tests.factories import Factory
from tests.jobs.support import PATIENCE_SECONDS, lose_leases
from tests.live import ROOT
from tests.messages.support import CUSTOMER, MailServer, SmsProvider, run

ROUNDS = 10
NAMES = ("smtp_url", "mail_from", "sms_url", "sms_account", "sms_token", "sms_from", "quiet_hours", "database_url")
SECRET = ("smtp_url", "sms_token", "database_url")


@pytest.fixture
async def mother(settings: Settings) -> AsyncIterator[Process]:
    """Who forks those that send."""
    values = {name: getattr(settings, name) for name in NAMES}
    given = {name.upper(): str(v.get_secret_value() if name in SECRET else v) for name, v in values.items()}
    program = (sys.executable, "-m", "tests.messages.process")
    mother = await asyncio.create_subprocess_exec(
        *program, cwd=ROOT, stdin=PIPE, stdout=PIPE, env={"PATH": os.environ["PATH"]} | given
    )
    yield mother
    mother.kill()
    await mother.wait()


class Killer:
    """Ends a process the moment that something has happened, once."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.struck = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def strike(self) -> None:
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = None
            self._loop.call_soon_threadsafe(self.struck.set)


@pytest.mark.usefixtures("channels")
async def test_whenever_the_sender_is_killed_every_message_arrives_and_at_most_a_mail_twice_under_one_id(
    conn: asyncpg.Connection,
    make: Factory,
    database: Database,
    settings: Settings,
    mail: MailServer,
    sms: SmsProvider,
    mother: Process,
) -> None:
    await kill_in_rounds(ROUNDS, conn, make, database, settings, mail, sms, mother)


async def kill_in_rounds(
    rounds: int,
    conn: asyncpg.Connection,
    make: Factory,
    database: Database,
    settings: Settings,
    mail: MailServer,
    sms: SmsProvider,
    mother: Process,
) -> None:
    """Make a booking and kill who tells of it, so many times, and see what arrived."""
    assert mother.stdin
    assert mother.stdout
    for n in range(rounds):
        killer = Killer()
        # before it left, and when it was taken and nobody has heard of that
        mail.on_rcpt, mail.on_data, sms.on_taken = (
            killer.strike if n % 3 == point else (lambda: None) for point in range(3)
        )
        since = await conn.fetchval("SELECT clock_timestamp()")
        async with asyncio.timeout(PATIENCE_SECONDS):
            mother.stdin.write(b"\n")
            killer.pid = int(await mother.stdout.readline())
            await make.booking(p_customer=json.dumps(CUSTOMER))
            await killer.struck.wait()
        # a session whose client was killed carries its claim out, finds nobody to tell, and goes
        await until_buried(conn, since)
        await lose_leases(conn)
        await run(database, settings)

    ids = Counter(told["Message-ID"] for told in mail.mails)
    assert await conn.fetchval("SELECT count(*) FROM messages WHERE status = 'sent'") == 2 * rounds
    assert len(ids) == rounds
    assert set(ids.values()) <= {1, 2}
    # else nobody died at work
    assert 2 in ids.values()
    assert len(sms.taken) == rounds
