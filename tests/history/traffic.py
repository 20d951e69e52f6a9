"""Clients who book, move and cancel for as long as they are let, and who ask again until they know."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.history.record import SUCCESS, History, Intent

CLIENTS = 8
PAUSE = 0.02


@dataclass
class Traffic:
    """What all clients share: the slots they fight for, what they wrote down, and whether to go on."""

    chance: random.Random
    slots: Sequence[str] = ()
    history: History = field(default_factory=History)
    is_over: bool = False

    async def run(self, port: int, api_key: str) -> None:
        """Be all clients, until it is over and each of them knows what came of what it wanted."""
        headers = {"Authorization": f"Bearer {api_key}"}
        async with (
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(CLIENTS):
                group.create_task(self._be_one(client))

    async def _be_one(self, client: httpx2.AsyncClient) -> None:
        mine: list[dict[str, Any]] = []
        while not self.is_over:
            intent = self._wish(mine)
            while not (told := await intent.ask(client)).is_final:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(PAUSE)
            # whoever was told that it went elsewhere meanwhile forgets it
            if told.status in SUCCESS and intent.kind != "cancel":
                mine.append(told.body)

    def _wish(self, mine: list[dict[str, Any]]) -> Intent:
        if not mine or self.chance.random() < 0.6:
            return self.history.intend("book", self.chance.choice(self.slots))
        booking = mine.pop(self.chance.randrange(len(mine)))
        if self.chance.random() < 0.5:
            return self.history.intend("cancel", booking=booking)
        return self.history.intend("reschedule", self.chance.choice(self.slots), booking)
