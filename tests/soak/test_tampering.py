"""Five hundred tamperings with the trail: all found, where they were done, and no false alarm."""

import asyncpg
import pytest

from tests.audit.test_tampering import tampered


@pytest.mark.parametrize("seed", range(1, 6))
async def test_a_hundred_tamperings_are_found_where_they_were_done(conn: asyncpg.Connection, seed: int) -> None:
    await tampered(conn, 100, seed)
