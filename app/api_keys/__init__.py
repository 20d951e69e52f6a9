"""API keys: made, shown once, rotated and revoked."""
