"""audit_action: one word for what happened to a row."""

import json

import asyncpg
import pytest

from tests.sql.support import call_value

BOOKING = {"status": "confirmed", "slot_id": "a", "units": 1}


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (None, BOOKING, "created"),
        (BOOKING, None, "deleted"),
        (BOOKING, BOOKING | {"status": "cancelled"}, "cancelled"),
        (BOOKING, BOOKING | {"slot_id": "b"}, "rescheduled"),
        (BOOKING, BOOKING | {"slot_id": "b", "status": "no_show"}, "no_show"),
        (BOOKING, BOOKING | {"units": 2}, "modified"),
        ({"name": "Pitch"}, {"name": "Court"}, "modified"),
        ({"status": "running"}, {"status": "paused"}, "paused"),
        ({"status": "paused"}, {"status": "running"}, "resumed"),
        ({"reminded_at": None}, {"reminded_at": "2030-06-03"}, "reminded"),
        ({"responses": 1}, {"responses": 2}, "responded"),
    ],
)
async def test_the_word_follows_from_the_state_before_and_after(
    conn: asyncpg.Connection, before: object, after: object, word: str
) -> None:
    old, new = (json.dumps(state) if state else None for state in (before, after))

    assert await call_value(conn, "audit_action", p_old=old, p_new=new) == word
