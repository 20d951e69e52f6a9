"""The embedded Postgres, with real servers and real processes."""
