"""What the tests of credentials share: keys, a provider, and credentials at it."""

import json
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import SecretStr

from app.encryption import EncryptionKeys, new_encryption_key
from app.handlers import Job
from app.providers.vault import seal
from app.settings import Settings
from tests.factories import ACTOR
from tests.sql.support import call_json, one

FIRST, SECOND = new_encryption_key(), new_encryption_key()


def with_keys(settings: Settings, *keys: str) -> Settings:
    """The settings, with these keys."""
    return settings.model_copy(update={"encryption_keys": SecretStr(",".join(keys))})


async def put_provider(conn: asyncpg.Connection, name: str = "gametime", **overrides: Any) -> Any:
    """A provider, through the function that the API calls."""
    arguments = {"p_adapter": "club", "p_settings": json.dumps({"url": "http://127.0.0.1:1/"}), "p_timezone": "UTC"}
    return await call_json(conn, "put_provider", p_actor=ACTOR, p_name=name, **(arguments | overrides))


async def store(
    conn: asyncpg.Connection, keys: str = FIRST, ref: str = "ann", provider: str = "gametime", **fields: str
) -> UUID:
    """Credentials that a customer stored there; returns their id."""
    sealed = seal(EncryptionKeys(keys), provider, ref, fields or {"password": "open sesame"})
    await call_json(
        conn,
        "put_credentials",
        p_actor=ACTOR,
        p_provider=provider,
        p_customer_ref=ref,
        p_key_id=sealed.key_id,
        p_nonce=sealed.nonce,
        p_ciphertext=sealed.ciphertext,
    )
    query = """SELECT c.id FROM provider_credentials c JOIN customers u ON u.id = c.customer_id
        WHERE c.provider = $1 AND u.ref = $2"""
    return UUID(str((await one(conn, query, provider, ref))[0]))


async def claim(conn: asyncpg.Connection, provider: str = "gametime") -> Job:
    """The job that waits in the provider's queue, as its handler gets it."""
    (row,) = await conn.fetch("SELECT * FROM claim_jobs('test', $1, 1, '1 hour')", f"provider:{provider}")
    return Job(
        row["id"],
        row["job_type"],
        json.loads(row["payload"]),
        row["attempt"],
        row["max_attempts"],
        row["lease_token"],
        None,
        row["scheduled_at"],
    )
