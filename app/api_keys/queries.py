"""One call a function of sql/: API keys."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from app.database import Database
from app.security import SHOWN_PREFIX_LENGTH, Actor, Scope, hash_token, new_api_key


class NewKey(NamedTuple):
    """A fresh key, which is seen this one time, and its record as JSON."""

    key: str
    body: str


async def create_api_key(
    db: Database, actor: Actor, name: str, scopes: Sequence[Scope], expires_in: timedelta | None = None
) -> NewKey:
    """A fresh key of these scopes. Only its hash is stored."""
    key = new_api_key()
    row = await db.call_row(
        "create_api_key",
        p_actor=actor.json(),
        p_name=name,
        p_prefix=key[:SHOWN_PREFIX_LENGTH],
        p_key_hash=hash_token(key),
        p_scopes=list(scopes),
        p_expires_in=expires_in,
    )
    return NewKey(key, row["body"])


async def rotate_api_key(db: Database, actor: Actor, key_id: UUID, overlap: timedelta) -> NewKey:
    """A fresh key in the place of that one, which ends after the overlap. Raises api_key_not_found, api_key_ended."""
    key = new_api_key()
    body = await db.call_value(
        "rotate_api_key",
        p_actor=actor.json(),
        p_key_id=key_id,
        p_prefix=key[:SHOWN_PREFIX_LENGTH],
        p_key_hash=hash_token(key),
        p_overlap=overlap,
    )
    return NewKey(key, str(body))


async def list_api_keys(db: Database) -> list[Record]:
    """Every key, newest first: among others `key_id`, `prefix`, `revoked_at`, and `body` as JSON."""
    return await db.call("list_api_keys")


async def revoke_api_key(db: Database, actor: Actor, prefix: str) -> int:
    """End the live keys that begin so; answers how many there were."""
    return int(await db.call_value("revoke_api_key", p_actor=actor.json(), p_prefix=prefix))


async def end_api_key(db: Database, actor: Actor, key_id: UUID) -> str:
    """End one key; answers it as JSON. Raises api_key_not_found."""
    return str(await db.call_value("end_api_key", p_actor=actor.json(), p_key_id=key_id))
