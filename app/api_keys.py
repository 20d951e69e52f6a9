"""One call a function of sql/: API keys."""

from collections.abc import Sequence

from asyncpg import Record

from app.database import Database
from app.security import SHOWN_PREFIX_LENGTH, Actor, Scope, hash_api_key, new_api_key


async def create_api_key(db: Database, actor: Actor, name: str, scopes: Sequence[Scope]) -> str:
    """A fresh key of these scopes. Only its hash is stored, so this answer is the one time it is seen."""
    key = new_api_key()
    await db.call(
        "create_api_key",
        p_actor=actor.json(),
        p_name=name,
        p_prefix=key[:SHOWN_PREFIX_LENGTH],
        p_key_hash=hash_api_key(key),
        p_scopes=list(scopes),
    )
    return key


async def list_api_keys(db: Database) -> list[Record]:
    """Every key, newest first: `key_id, name, prefix, scopes, created_at, revoked_at`."""
    return await db.call("list_api_keys")


async def revoke_api_key(db: Database, actor: Actor, prefix: str) -> int:
    """End the live keys that begin so; answers how many there were."""
    return int(await db.call_value("revoke_api_key", p_actor=actor.json(), p_prefix=prefix))
