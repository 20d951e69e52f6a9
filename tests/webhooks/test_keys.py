"""Secrets of webhooks go under a new key with everything else, and doctor tells of those that nobody can use."""

import asyncpg

from app.database import Database
from app.encryption import EncryptionKeys
from app.security import Actor
from app.webhooks import queries
from app.webhooks.rotation import rotate_secrets
from app.webhooks.vault import unseal
from tests.cli.test_commands import holdfast
from tests.credentials.support import FIRST, SECOND
from tests.webhooks.support import add_endpoint

URL = "https://example.com/"
ACTOR = Actor("admin", "rotator")
NEW = EncryptionKeys(f"{SECOND},{FIRST}")


async def test_every_secret_is_put_under_the_first_key(conn: asyncpg.Connection, database: Database) -> None:
    endpoints = {endpoint.id: endpoint.secret for endpoint in [await add_endpoint(conn, URL) for _ in range(3)]}

    assert await rotate_secrets(database, ACTOR, NEW) == 0

    assert await queries.webhook_secrets_by_key(database) == {NEW.ids[0]: 3}
    stored = await queries.old_webhook_secrets(database, "none")
    alone = EncryptionKeys(SECOND)
    assert {old.endpoint_id: unseal(alone, old.endpoint_id, old.sealed) for old in stored} == endpoints


async def test_what_cannot_be_decrypted_stays_and_is_counted(conn: asyncpg.Connection, database: Database) -> None:
    await add_endpoint(conn, URL)
    await conn.execute("UPDATE webhook_secrets SET ciphertext = 'x'")
    await add_endpoint(conn, URL)

    assert await rotate_secrets(database, ACTOR, NEW) == 1


async def test_the_command_rotates_them_too(dsn: str, conn: asyncpg.Connection) -> None:
    await add_endpoint(conn, URL)
    lost = await add_endpoint(conn, URL)
    await conn.execute("UPDATE webhook_secrets SET key_id = 'lost' WHERE endpoint_id = $1", lost.id)

    done = holdfast(dsn, "keys", "rotate", ENCRYPTION_KEYS=f"{SECOND},{FIRST}")

    assert done.returncode == 1
    assert "1 webhook secrets are under another still" in done.stdout
    rows = await conn.fetch("SELECT key_id FROM webhook_secrets")
    assert {row["key_id"] for row in rows} == {NEW.ids[0], "lost"}


async def test_doctor_finds_secrets_that_nobody_can_use(dsn: str, conn: asyncpg.Connection) -> None:
    await add_endpoint(conn, URL)

    done = holdfast(dsn, "doctor", ENCRYPTION_KEYS=SECOND, CRON_SECRET="a-secret-for-tests")

    words = " ".join(done.stdout.split())
    assert done.returncode == 1
    first = FIRST.partition(":")[0]
    assert f"1 webhook secrets are under the key {first}, which ENCRYPTION_KEYS does not have" in words
