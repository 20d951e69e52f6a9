"""Part 1: many clients, few seats."""

import asyncio
import secrets
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx2

from app.demo.stage import console

RIVALS = 50
SEATS_LEFT = 5


async def race(client: httpx2.AsyncClient) -> str:
    """Let 50 clients race for the last 5 seats; returns the id of another slot, left for the reader."""
    resource = (await client.post("/v1/resources", json={"name": "Yoga class", "timezone": "Europe/Athens"})).json()
    start = (datetime.now(UTC) + timedelta(days=1)).replace(minute=0, second=0, microsecond=0)
    slots = [
        {
            "starts_at": (start + timedelta(hours=hour)).isoformat(),
            "ends_at": (start + timedelta(hours=hour + 1)).isoformat(),
            "max_bookings": 12,
        }
        for hour in range(8)
    ]
    added = (await client.post(f"/v1/resources/{resource['id']}/slots", json={"slots": slots})).json()
    contested, *others = [slot["id"] for slot in added["slots"]]
    for early_bird in range(12 - SEATS_LEFT):
        await _book(client, contested, f"early-{early_bird}")

    began = time.perf_counter()
    answers = await asyncio.gather(*(_book(client, contested, f"rival-{rival}") for rival in range(RIVALS)))
    elapsed = time.perf_counter() - began

    outcomes = Counter(answer.json().get("code", "booked") for answer in answers)
    console.print(f"\n[bold]1. {RIVALS} clients race for the last {SEATS_LEFT} seats of a class[/]")
    console.print(f"   {outcomes['booked']} booked, {outcomes['slot_full']} were told slot_full, in {elapsed:.2f} s.")
    others_told = outcomes.total() - outcomes["booked"] - outcomes["slot_full"]
    if outcomes["booked"] != SEATS_LEFT or others_told:
        message = f"expected {SEATS_LEFT} winners, saw {dict(outcomes)}"
        raise RuntimeError(message)
    return str(others[0])


async def _book(client: httpx2.AsyncClient, slot_id: str, ref: str) -> httpx2.Response:
    return await client.post(
        "/v1/bookings",
        json={"slot_id": slot_id, "customer": {"ref": ref}},
        headers={"Idempotency-Key": secrets.token_hex(8)},
    )
