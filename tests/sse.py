"""A client of the event stream, as the standard describes one: it knows the last id it read, and comes back with it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NamedTuple

import httpx2


class Frame(NamedTuple):
    """One block of a stream: its fields, the comment under an empty name."""

    fields: dict[str, str]

    @property
    def event(self) -> dict[str, Any] | None:
        """The event that it tells, if it tells one."""
        return json.loads(self.fields["data"]) if "data" in self.fields else None


async def frames(answer: httpx2.Response) -> AsyncGenerator[Frame]:
    """Every block, as it comes."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            assert name not in fields, line
            fields[name] = value.removeprefix(" ")
        else:
            yield Frame(fields)
            fields = {}


class Subscriber:
    """Follows the stream over as many connections as it takes; `told` is everything it was ever told."""

    def __init__(self, client: httpx2.AsyncClient, **params: str) -> None:
        self.client = client
        self.params = params
        self.last_id: str | None = None
        self.told: list[dict[str, Any]] = []
        self.has_heard = asyncio.Event()

    async def begin(self) -> None:
        """Come once, hear where the stream stands, and hang up."""
        await self.hear(0)

    async def hear(self, events: int) -> list[dict[str, Any]]:
        """What one connection tells, up to that many events; less if the server ends it. Then hang up."""
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        heard: list[dict[str, Any]] = []
        async with self.client.stream("GET", "/v1/events", params=self.params, headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            async with aclosing(frames(answer)) as blocks:
                async for block in blocks:
                    self.last_id = block.fields.get("id", self.last_id)
                    if event := block.event:
                        assert block.fields["event"] == event["type"]
                        heard.append(event)
                        self.has_heard.set()
                    if len(heard) >= events:
                        break
        self.told += heard
        return heard
