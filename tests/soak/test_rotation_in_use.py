"""The rotation of tests/credentials/test_rotation.py, of ten thousand credentials."""

import asyncpg

from app.database import Database
from tests.credentials.test_rotation import others, rotate_in_use  # noqa: F401 - a fixture


async def test_ten_thousand_are_rotated_while_they_are_used_and_replaced(
    conn: asyncpg.Connection,
    database: Database,
    others: Database,  # noqa: F811
) -> None:
    await rotate_in_use(10_000, conn, database, others)
