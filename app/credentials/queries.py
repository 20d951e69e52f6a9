"""One call a function of sql/: credentials."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from app.credentials.schemas import CredentialsFilters
from app.database import Database
from app.encryption import Sealed
from app.security import Actor


class Stored(NamedTuple):
    """Credentials as they are stored, with the provider they are for."""

    id: UUID
    version: int
    provider: str
    customer_ref: str
    sealed: Sealed
    adapter: str
    settings: dict[str, Any]
    is_enabled: bool


class Old(NamedTuple):
    """Credentials under a key that is not the first."""

    id: UUID
    provider: str
    customer_ref: str
    sealed: Sealed


async def put_credentials(db: Database, actor: Actor, provider: str, customer_ref: str, sealed: Sealed) -> str:
    """What the customer's credentials are now, as JSON; a job to check them waits. Raises provider_not_found."""
    return str(
        await db.call_value(
            "put_credentials",
            p_actor=actor.json(),
            p_provider=provider,
            p_customer_ref=customer_ref,
            p_key_id=sealed.key_id,
            p_nonce=sealed.nonce,
            p_ciphertext=sealed.ciphertext,
        )
    )


async def delete_credentials(db: Database, actor: Actor, provider: str, customer_ref: str) -> None:
    """The customer has no credentials there any more. Raises credentials_not_found."""
    await db.call("delete_credentials", p_actor=actor.json(), p_provider=provider, p_customer_ref=customer_ref)


async def list_credentials(db: Database, actor: Actor, filters: CredentialsFilters) -> str:
    """One page of the credentials that pass every given filter, as JSON."""
    return str(
        await db.call_value(
            "list_credentials",
            p_customer_ref=actor.customer_ref or filters.customer_ref,
            p_provider=filters.provider,
            p_limit=filters.limit,
            p_cursor=filters.cursor,
        )
    )


async def stored_credentials(db: Database, credentials_id: UUID) -> Stored | None:
    """The credentials with that id; None where they are gone."""
    for row in await db.call("stored_credentials", p_credentials_id=credentials_id):
        return Stored(
            row["credentials_id"],
            row["credentials_version"],
            row["provider"],
            row["customer_ref"],
            Sealed(row["key_id"], row["nonce"], row["ciphertext"]),
            row["adapter"],
            json.loads(row["settings"]),
            row["is_enabled"],
        )
    return None


async def record_credentials_check(db: Database, actor: Actor, stored: Stored, status: str, detail: str) -> bool:
    """Whether it was recorded that these credentials are valid or invalid; not, where newer ones are stored by now."""
    return bool(
        await db.call_value(
            "record_credentials_check",
            p_actor=actor.json(),
            p_credentials_id=stored.id,
            p_version=stored.version,
            p_status=status,
            p_detail=detail,
        )
    )


async def old_credentials(db: Database, key_id: str, after: UUID, limit: int) -> list[Old]:
    """The next credentials that are not under that key, by id."""
    rows = await db.call("old_credentials", p_key_id=key_id, p_after=after, p_limit=limit)
    return [
        Old(
            row["credentials_id"],
            row["provider"],
            row["customer_ref"],
            Sealed(row["key_id"], row["nonce"], row["ciphertext"]),
        )
        for row in rows
    ]


async def rotate_credentials(db: Database, actor: Actor, changes: Sequence[tuple[Old, Sealed]]) -> int:
    """How many of these were still as given, and are under their new key now. All are under the same new key."""
    return int(
        await db.call_value(
            "rotate_credentials",
            p_actor=actor.json(),
            p_key_id=changes[0][1].key_id,
            p_ids=[old.id for old, _ in changes],
            p_old_nonces=[old.sealed.nonce for old, _ in changes],
            p_nonces=[new.nonce for _, new in changes],
            p_ciphertexts=[new.ciphertext for _, new in changes],
        )
    )


async def credentials_by_key(db: Database) -> dict[str, int]:
    """How many credentials are under each key."""
    return {row["key_id"]: row["credentials"] for row in await db.call("credentials_by_key")}
