"""docs/lifecycle.md tells the steps that the database takes, and no others."""

import re

import asyncpg

from tests.contracts.support import ROOT


async def test_the_page_lists_the_steps_of_a_booking(conn: asyncpg.Connection) -> None:
    page = (ROOT / "docs" / "lifecycle.md").read_text()
    section = page.partition("## Bookings")[2].partition("\n## ")[0]
    rows = await conn.fetch("SELECT from_status, to_status FROM booking_transitions ORDER BY 1, 2")

    told = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(told) == [tuple(row) for row in rows]
