"""A connection around the API, for what is not measured: filling, checkpoints and checks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from app.database import SESSION

Answer = TypeVar("Answer")
SCHEMA = "holdfast"


class BackDoor:
    """Does things in the database between the runs, so that nothing of ours idles on a loop during them."""

    def __init__(self, url: str) -> None:
        self._url = url

    def run(self, work: Callable[[asyncpg.Connection], Awaitable[Answer]]) -> Answer:
        """Do `work` on a fresh connection and return what it returns."""

        async def on_a_connection() -> Answer:
            connection = await asyncpg.connect(self._url, server_settings={"search_path": SCHEMA, **SESSION})
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(on_a_connection())

    def checkpoint(self) -> None:
        """Start the next run with clean pages: the first write to each then costs both sides the same."""
        self.run(lambda connection: connection.execute("CHECKPOINT"))
