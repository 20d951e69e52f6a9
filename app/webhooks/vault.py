"""Secrets of webhook endpoints in and out of their encryption, which is bound to one endpoint."""

from uuid import UUID

from app.encryption import EncryptionKeys, Sealed

# a ciphertext of another kind never passes for a webhook's secret
KIND = "webhook_secret"


def seal(keys: EncryptionKeys, endpoint_id: UUID, secret: str) -> Sealed:
    """The secret, encrypted for this endpoint."""
    return keys.encrypt(secret.encode(), KIND, str(endpoint_id))


def unseal(keys: EncryptionKeys, endpoint_id: UUID, sealed: Sealed) -> str:
    """The secret of this endpoint. Raises MissingKeyError, AlteredError."""
    return keys.decrypt(sealed, KIND, str(endpoint_id)).decode()


def reseal(keys: EncryptionKeys, endpoint_id: UUID, sealed: Sealed) -> Sealed | None:
    """The same secret under the first key; None where it cannot be decrypted."""
    return keys.renew(sealed, KIND, str(endpoint_id))
