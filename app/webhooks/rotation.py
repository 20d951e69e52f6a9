"""Putting the secrets of webhook endpoints under the first key, while they sign."""

from app.database import Database
from app.encryption import EncryptionKeys
from app.security import Actor
from app.webhooks import queries
from app.webhooks.vault import reseal


async def rotate_secrets(db: Database, actor: Actor, keys: EncryptionKeys) -> int:
    """Put every secret under the first key, one by one, and answer how many are under another still.

    What cannot be decrypted stays as it is. Killed at any point, it has lost nothing.
    """
    for old in await queries.old_webhook_secrets(db, keys.ids[0]):
        if new := reseal(keys, old.endpoint_id, old.sealed):
            await queries.reseal_webhook_secret(db, actor, old, new)
    return len(await queries.old_webhook_secrets(db, keys.ids[0]))
