"""Postgres without an installation: find its programs, then make, start, share and stop a server.

For one machine and for trying Holdfast out: the server listens on a unix socket that only its
owner can open, and trusts whoever comes through it.
"""

from app.embedded.binaries import find_binaries
from app.embedded.errors import EmbeddedPostgresError
from app.embedded.server import EmbeddedPostgres, default_data_dir, start, temporary

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "default_data_dir",
    "find_binaries",
    "start",
    "temporary",
]
