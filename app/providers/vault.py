"""Credentials in and out of their encryption, which is bound to one customer at one provider."""

import json
from collections.abc import Mapping

from app.adapters.adapter import Credentials
from app.encryption import EncryptionKeys, Sealed

# a ciphertext of another kind never passes for credentials
KIND = "credentials"
UNREADABLE = "what is stored cannot be read any more: store it again"


def seal(keys: EncryptionKeys, provider: str, customer_ref: str, fields: Mapping[str, str]) -> Sealed:
    """The fields, encrypted for this customer at this provider."""
    return keys.encrypt(json.dumps(dict(fields)).encode(), KIND, provider, customer_ref)


def unseal(keys: EncryptionKeys, provider: str, customer_ref: str, sealed: Sealed) -> Credentials:
    """The credentials that this customer stored for this provider. Raises MissingKeyError, AlteredError."""
    return Credentials(json.loads(keys.decrypt(sealed, KIND, provider, customer_ref)))


def reseal(keys: EncryptionKeys, provider: str, customer_ref: str, sealed: Sealed) -> Sealed | None:
    """The same credentials under the first key; None where they cannot be decrypted."""
    return keys.renew(sealed, KIND, provider, customer_ref)
