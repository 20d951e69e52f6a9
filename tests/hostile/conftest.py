"""One installation for the whole corpus: nothing in it depends on what came before."""

import secrets
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import asyncpg
import httpx2
import pytest

from app.main import create_app
from app.settings import Settings
from tests.concurrency.rivals import until_idle
from tests.conftest import client_of, settings_for
from tests.credentials.support import FIRST, put_provider
from tests.databases import copy_of
from tests.factories import ACTOR, TOMORROW, Factory, make_api_key
from tests.sql.support import call_row

SECRETS: dict[str, Any] = {
    "encryption_keys": FIRST,
    "jwt_secret": secrets.token_urlsafe(32),
    "stripe_webhook_secret": secrets.token_urlsafe(32),
    "smtp_url": "smtp://127.0.0.1:1",
    "mail_from": "bookings@example.com",
    "sms_url": "http://127.0.0.1:1",
    "sms_account": "AC1",
    "sms_token": secrets.token_urlsafe(32),
    "sms_from": "+15005550006",
    "public_url": "https://example.com",
    "sms_inbound_url": "https://example.com/v1/sms-inbound",
}


class Target(NamedTuple):
    """The installation: an admin's client of it, a way around it, and the ids of what exists."""

    client: httpx2.AsyncClient
    conn: asyncpg.Connection
    known: dict[str, str]


def settings_of(dsn: str) -> Settings:
    """Settings with which nothing is closed for want of one."""
    given = settings_for(dsn)
    return Settings(
        _env_file=None,
        database_url=given.database_url,
        cron_secret=given.cron_secret,
        log_level="error",
        **SECRETS,
    )


async def furnish(conn: asyncpg.Connection) -> dict[str, str]:
    """One row of most kinds, and where requests find them."""
    make = Factory(conn)
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, max_bookings=1_000_000, starts_at=TOMORROW)
    full_slot_id = await make.slot(resource_id)
    booking_id = await make.booking(slot_id)
    await make.booking(full_slot_id)
    entry = await call_row(conn, "join_waitlist", p_actor=ACTOR, p_slot_id=full_slot_id, p_customer='{"ref": "ann"}')
    await put_provider(conn)
    known = {
        "resource_id": resource_id,
        "slot_id": slot_id,
        "booking_id": booking_id,
        "entry_id": entry["entry_id"],
        "ids": slot_id,
        "provider": "gametime",
        "customer_ref": "ann",
        "ref": "ann",
        "if-match": '"1"',
        "tz": "UTC",
        "timezone": "UTC",
    }
    return {name: str(value) for name, value in known.items()}


@pytest.fixture(scope="module")
async def target(template: str) -> AsyncIterator[Target]:
    """The installation, with one row of most kinds."""
    async with copy_of(template, "corpus") as (dsn, conn):
        known = await furnish(conn)
        # nobody does jobs: these would call outside
        app = create_app(settings_of(dsn), handlers=())
        async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "admin")) as client:
            yield Target(client, conn, known)
            await until_idle(conn)
