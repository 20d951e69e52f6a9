"""Encryption of what customers entrust to us: AES-256-GCM under named keys, which may be changed while in use."""

import base64
import binascii
import json
import re
import secrets
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
# NIST SP 800-38D: 96 random bits, for at most 2^32 encryptions under one key
NONCE_BYTES = 12
_KEY_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class Sealed(NamedTuple):
    """A ciphertext, with the id of its key and the nonce that no other ciphertext has."""

    key_id: str
    nonce: bytes
    ciphertext: bytes


class MissingKeyError(Exception):
    """The ciphertext is under a key that is not among ours."""


class AlteredError(Exception):
    """The ciphertext is not what was encrypted for this place: it was changed, or moved here from another."""


class EncryptionKeys:
    """The keys of ENCRYPTION_KEYS: the first encrypts, all decrypt.

    Takes `key_id:base64-of-32-bytes`, separated by commas. Raises ValueError, in words that hold no part of it.
    """

    def __init__(self, text: str) -> None:
        self._ciphers: dict[str, AESGCM] = {}
        known: set[bytes] = set()
        for number, part in enumerate(text.split(","), start=1):
            key_id, _, encoded = part.strip().partition(":")
            if not _KEY_ID.fullmatch(key_id):
                _refuse(number, "is not of the form key_id:base64, with an id of a-z, 0-9, - and _, 32 at most")
            key = _decoded(number, encoded)
            if key_id in self._ciphers:
                _refuse(number, "has the id of another")
            if key in known:
                _refuse(number, "is another once more")
            known.add(key)
            self._ciphers[key_id] = AESGCM(key)

    @property
    def ids(self) -> list[str]:
        """The ids of the keys; the first is the one that encrypts."""
        return list(self._ciphers)

    def encrypt(self, plaintext: bytes, *place: str) -> Sealed:
        """The plaintext under the first key, to be decrypted at that place alone."""
        key_id = self.ids[0]
        nonce = secrets.token_bytes(NONCE_BYTES)
        return Sealed(key_id, nonce, self._ciphers[key_id].encrypt(nonce, plaintext, _bound_to(key_id, place)))

    def decrypt(self, sealed: Sealed, *place: str) -> bytes:
        """The plaintext that was encrypted for that place. Raises MissingKeyError, AlteredError."""
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise MissingKeyError(sealed.key_id)
        try:
            return cipher.decrypt(sealed.nonce, sealed.ciphertext, _bound_to(sealed.key_id, place))
        except (InvalidTag, ValueError):
            # a nonce that was cut off is a ValueError
            raise AlteredError from None

    def renew(self, sealed: Sealed, *place: str) -> Sealed | None:
        """The same for that place under the first key; None where it cannot be decrypted."""
        try:
            return self.encrypt(self.decrypt(sealed, *place), *place)
        except (MissingKeyError, AlteredError):
            return None


def new_encryption_key() -> str:
    """A fresh key under a fresh id, as it goes into ENCRYPTION_KEYS."""
    return f"{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def _bound_to(key_id: str, place: tuple[str, ...]) -> bytes:
    # JSON, so that no two places are written alike
    return json.dumps([key_id, *place]).encode()


def _decoded(number: int, encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        _refuse(number, f"is not {KEY_BYTES} bytes in base64")
    return key


def _refuse(number: int, why: str) -> None:
    # the number, not the text: who leaves the id away has the key in its place
    msg = f"key {number} {why}"
    raise ValueError(msg)
