"""Personal links: who has one may answer for whom it was made for, and for nobody else."""

import base64
import binascii
import hashlib
import hmac
from uuid import UUID

from app.settings import Settings

UUID_BYTES = 16
# of the HMAC: enough that nobody guesses one, little enough for an SMS
SIGNATURE_BYTES = 16
# what the signature is for: another kind of link under the same secret is no response
PURPOSE = b"respond:"


def public_address(settings: Settings, path: str) -> str | None:
    """Where the outside reaches that path; None where PUBLIC_URL is not set."""
    return str(settings.public_url).rstrip("/") + path if settings.public_url else None


class Links:
    """Links of this installation; none where PUBLIC_URL or LINK_SECRET is not set."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._secret = settings.link_secret.get_secret_value().encode() if settings.link_secret else None

    def to(self, participant_id: UUID) -> str | None:
        """The link of a participant of an auto-sync."""
        if self._secret is None:
            return None
        token = participant_id.bytes + self._signature(participant_id.bytes, self._secret)
        return public_address(self._settings, f"/respond/{base64.urlsafe_b64encode(token).rstrip(b'=').decode()}")

    def read(self, token: str) -> UUID | None:
        """Whose link it is; None for text that is no link of ours."""
        if self._secret is None:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        participant, signature = raw[:UUID_BYTES], raw[UUID_BYTES:]
        is_ours = hmac.compare_digest(signature, self._signature(participant, self._secret))
        return UUID(bytes=participant) if is_ours and len(participant) == UUID_BYTES else None

    @staticmethod
    def _signature(participant: bytes, secret: bytes) -> bytes:
        return hmac.digest(secret, PURPOSE + participant, hashlib.sha256)[:SIGNATURE_BYTES]
