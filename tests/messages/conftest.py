"""A mail server, an SMS provider, and settings that name them."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from app.settings import Settings
from tests.messages.support import MailServer, SmsProvider, enable, mail_server, sms_provider, with_senders


@pytest.fixture
async def mail() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
def sms() -> Iterator[SmsProvider]:
    with sms_provider() as server:
        yield server


@pytest.fixture
def settings(settings: Settings, mail: MailServer, sms: SmsProvider) -> Settings:
    """The installation's settings, with both senders."""
    return with_senders(settings, mail, sms)


@pytest.fixture
async def channels(conn: asyncpg.Connection) -> None:
    """Both channels enabled."""
    await enable(conn, "email", "sms")


@pytest.fixture
async def by_email(conn: asyncpg.Connection) -> None:
    """Email alone."""
    await enable(conn, "email")


@pytest.fixture
async def by_sms(conn: asyncpg.Connection) -> None:
    """SMS alone."""
    await enable(conn, "sms")
