"""The keys of this installation, for routes that can do nothing without."""

from fastapi import Request

from app.encryption import EncryptionKeys
from app.errors import Problem
from app.settings import Settings


def require_keys(request: Request) -> EncryptionKeys:
    """What encrypts secrets that come in. Raises Problem `encryption_unavailable` where nothing does."""
    settings: Settings = request.app.state.settings
    keys = settings.keys_of_credentials
    if keys is None:
        raise Problem("encryption_unavailable")
    return keys
