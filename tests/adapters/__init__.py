"""Adapters against a provider that really listens."""
