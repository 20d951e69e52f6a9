"""Putting stored credentials under the first key, while they are used and replaced."""

from typing import NamedTuple
from uuid import UUID

from app.credentials import queries
from app.database import Database
from app.encryption import EncryptionKeys
from app.providers.vault import reseal
from app.security import Actor

# whoever stores credentials meanwhile waits for no more
BATCH = 100


class Rotation(NamedTuple):
    """How many credentials were put under the first key, and how many are under another still."""

    rotated: int
    left: int


async def rotate(db: Database, actor: Actor, keys: EncryptionKeys, batch: int = BATCH) -> Rotation:
    """Put every row that is not under the first key there, batch by batch; a row that changes meanwhile is left alone.

    Each batch is one statement. Killed at any point, it has lost nothing, and goes on where it stood when run again.
    What cannot be decrypted stays as it is. Raises ValueError when there is no second key to come from.
    """
    if len(keys.ids) == 1:
        msg = "ENCRYPTION_KEYS has one key: put a new one before it (holdfast keys new-encryption)"
        raise ValueError(msg)
    rotated, after = 0, UUID(int=0)
    while rows := await queries.old_credentials(db, keys.ids[0], after, batch):
        changes = [(row, new) for row in rows if (new := reseal(keys, row.provider, row.customer_ref, row.sealed))]
        if changes:
            rotated += await queries.rotate_credentials(db, actor, changes)
        after = rows[-1].id
    by_key = await queries.credentials_by_key(db)
    return Rotation(rotated, sum(by_key.values()) - by_key.get(keys.ids[0], 0))
