"""The one error of this package."""


class EmbeddedPostgresError(RuntimeError):
    """There can be no embedded Postgres, or no end of it; the message says what to do."""
