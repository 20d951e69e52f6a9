"""Part 4: a club outside opens its bookings at an instant, and twenty customers want to be there."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from rich import box
from rich.table import Table

from app.demo.stage import console
from app.simulator.provider import settings_for

PROVIDER = "demo-club"
CUSTOMERS = [f"member-{n:02}" for n in range(1, 21)]
PLACES = 12
# Seconds. The club's clock is wrong, and all must have their credentials in before it opens.
CLOCK_AHEAD = 0.7
UNTIL_OPENING = 5.5
PATIENCE = 30.0
PASSWORD = "a password of the demo"  # noqa: S105 - of a club that is played


async def win_the_opening(client: httpx2.AsyncClient) -> None:
    """Let twenty prebookings fire at a simulated club's opening, and show how late each was."""
    opens_at = datetime.now(UTC) + timedelta(seconds=UNTIL_OPENING)
    async with _club(opens_at) as url:
        await _ask(client, "PUT", f"/v1/providers/{PROVIDER}", _provider(url))
        for customer in CUSTOMERS:
            fields = {"user": customer, "password": PASSWORD}
            await _ask(client, "PUT", f"/v1/credentials/{PROVIDER}", {"customer_ref": customer, "fields": fields})
        for customer in CUSTOMERS:
            await _ask(client, "POST", "/v1/prebookings", _prebooking(customer, opens_at))
        ended = await _ended(client, opens_at)
    for customer in CUSTOMERS:
        await client.delete(f"/v1/credentials/{PROVIDER}", params={"customer_ref": customer})
    _show(ended)


@contextlib.asynccontextmanager
async def _club(opens_at: datetime) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.simulator", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout  # noqa: S101 - asked for above
        url = (await process.stdout.readline()).decode().split()[-1]
        conduct = {
            "accounts": dict.fromkeys(CUSTOMERS, PASSWORD),
            "capacity": PLACES,
            "opens_at": opens_at.timestamp(),
            "clock_ahead": CLOCK_AHEAD,
            "latency": 0.02,
        }
        async with httpx2.AsyncClient(base_url=url) as control:
            (await control.put("/control/conduct", json=conduct)).raise_for_status()
        yield url
    finally:
        process.terminate()
        await process.wait()


def _provider(url: str) -> dict[str, Any]:
    return {"adapter": "http_json", "settings": settings_for(url), "timezone": "Europe/Athens", "stagger_ms": 50}


def _prebooking(customer: str, opens_at: datetime) -> dict[str, Any]:
    # a time of its own for each telling: one that was cut short still waits for its own
    day = opens_at + timedelta(days=7)
    return {
        "provider": PROVIDER,
        "target": {"class": "spinning", "date": f"{day:%F}", "time": f"{day:%T}"},
        "opens_at": opens_at.isoformat(),
        "customer": {"ref": customer},
    }


async def _ask(client: httpx2.AsyncClient, method: str, path: str, body: dict[str, Any]) -> None:
    (await client.request(method, path, json=body)).raise_for_status()


async def _ended(client: httpx2.AsyncClient, opens_at: datetime) -> list[dict[str, Any]]:
    """What became of them, in the order in which they were made."""
    async with asyncio.timeout(UNTIL_OPENING + PATIENCE):
        while True:
            page = (await client.get("/v1/prebookings", params={"provider": PROVIDER, "limit": 200})).json()["items"]
            ours = [each for each in page if datetime.fromisoformat(each["opens_at"]) == opens_at]
            if all(each["status"] in {"succeeded", "failed"} for each in ours):
                return ours
            await asyncio.sleep(0.2)


def _show(ended: list[dict[str, Any]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "customer", "left at", "late by", "the club said"):
        table.add_column(heading, justify="right" if heading == "late by" else "left")
    for place, each in enumerate(ended, start=1):
        left = datetime.fromisoformat(each["fired_at"]).strftime("%H:%M:%S.%f")[:-3]
        told = each["confirmation"] or each["reason"]
        table.add_row(str(place), each["customer_ref"], left, f"{each['lateness_ms']} ms", told)
    won = sum(each["status"] == "succeeded" for each in ended)
    console.print(f"\n[bold]4. {len(ended)} prebookings at a club that opens at an instant, with {PLACES} places[/]")
    console.print(
        f"   {won} have one. They asked in order, 50 ms apart, by a clock that is {CLOCK_AHEAD} s ahead of ours."
    )
    console.print(table)
