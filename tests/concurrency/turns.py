"""Rivals in a known order: each begins when the one before it waits, and is served in that order."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from tests.concurrency.rivals import begin, outcomes, until_waiting

T = TypeVar("T")

DONE = "done"


@asynccontextmanager
async def held_rules(holder: asyncpg.Connection, resource_id: UUID) -> AsyncIterator[None]:
    """Nobody else changes the resource or its schedule inside the block."""
    async with holder.transaction():
        await holder.execute("SELECT FROM resources WHERE id = $1 FOR NO KEY UPDATE", resource_id)
        await holder.execute("SELECT FROM schedules WHERE resource_id = $1 FOR NO KEY UPDATE", resource_id)
        yield


async def in_turn(observer: asyncpg.Connection, *attempts: Coroutine[Any, Any, Any]) -> list[Any]:
    """Tasks that wait one behind the other for what somebody holds, the first at the head of the queue."""
    tasks: list[Any] = []
    for number, attempt in enumerate(attempts, start=1):
        tasks += begin([attempt])
        await until_waiting(observer, number)
    return tasks


async def told(tasks: list[Any]) -> list[str]:
    """What each was told, in order: done, or its SQLSTATE and what goes with it."""
    answers = []
    for task in tasks:
        won, lost = await outcomes([task])
        answers += lost or [DONE] * len(won)
    return answers
