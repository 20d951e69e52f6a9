"""A reader of events, as a client is one: it keeps a cursor and nothing else."""

import json
from typing import Any

import asyncpg

from tests.sql.support import call


class Reader:
    """Reads on from where it stands; `told` is everything it was ever told."""

    def __init__(self, conn: asyncpg.Connection, cursor: str | None = None, **filters: Any) -> None:
        self.conn = conn
        self.cursor = cursor
        self.filters = filters
        self.told: list[dict[str, Any]] = []

    async def page(self, limit: int = 500) -> list[dict[str, Any]]:
        """One call, and what it told."""
        *rows, end = await call(
            self.conn,
            "read_events",
            p_cursor=self.cursor,
            p_limit=limit,
            **{f"p_{k}": v for k, v in self.filters.items()},
        )
        self.cursor = end["event_cursor"]
        events = [json.loads(row["body"]) for row in rows]
        assert [event["type"] for event in events] == [row["event_name"] for row in rows]
        self.told += events
        return events

    async def news(self, limit: int = 500) -> list[dict[str, Any]]:
        """What has been committed since the last time: to the end of the round begun, and of one round more."""
        events = []
        for _ in range(2):
            events += await self.page(limit)
            while "~" in str(self.cursor):
                events += await self.page(limit)
        return events


async def reader(conn: asyncpg.Connection, **filters: Any) -> Reader:
    """A reader that stands at this moment."""
    begun = Reader(conn, **filters)
    assert await begun.page() == []
    return begun


def names(events: list[dict[str, Any]]) -> list[str]:
    """What happened, in order."""
    return [event["type"] for event in events]
