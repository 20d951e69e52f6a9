"""Ed25519: who has the key signs what the audit trail was; who has its public half can tell."""

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES = 32


class SigningKey:
    """The key of AUDIT_SIGNING_KEY: 32 bytes in base64. Raises ValueError, in words that hold no part of it."""

    def __init__(self, text: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(_decoded(text))

    def sign(self, text: str) -> bytes:
        """The signature of the text, 64 bytes."""
        return self._key.sign(text.encode())

    @property
    def public(self) -> str:
        """What tells its signatures from others', in base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()


def is_signed(public_key: str, text: str, signature: bytes) -> bool:
    """Whether the key whose public half this is signed exactly this text. Raises ValueError when it is no key."""
    key = Ed25519PublicKey.from_public_bytes(_decoded(public_key))
    try:
        key.verify(signature, text.encode())
    except InvalidSignature:
        return False
    return True


def new_signing_key() -> str:
    """A fresh key, as it goes into AUDIT_SIGNING_KEY."""
    return base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def _decoded(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        msg = f"is not {KEY_BYTES} bytes in base64"
        raise ValueError(msg)
    return key
