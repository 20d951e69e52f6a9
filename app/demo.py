"""`holdfast demo`: one short story on a real server, with its numbers."""

import asyncio
import secrets
import socket
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import uvicorn
from pydantic import SecretStr
from rich.console import Console

from app.api_keys import create_api_key
from app.bookings.importing import import_bookings
from app.database import Database
from app.main import create_app
from app.security import Actor
from app.settings import Settings

RIVALS = 50
SEATS_LEFT = 5
OPERATOR = Actor("admin", "demo")

console = Console(highlight=False)


async def run(settings: Settings, listener: socket.socket, *, keep_serving: bool) -> None:
    """Serve on `listener`, tell the story against it over HTTP, and go on serving if asked to."""
    cron_secret = settings.cron_secret or SecretStr(secrets.token_urlsafe(24))
    app = create_app(settings.model_copy(update={"cron_secret": cron_secret}))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        if serving.done():
            return serving.result()
        await asyncio.sleep(0.01)

    url = f"http://{listener.getsockname()[0]}:{listener.getsockname()[1]}"
    try:
        key = await create_api_key(app.state.database, OPERATOR, "demo", ["admin"])
        async with httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            limits=httpx2.Limits(max_connections=RIVALS),
            timeout=30,
        ) as client:
            slot_id = await _race(client)
            await _complete(client, app.state.database, cron_secret)
        if keep_serving:
            _invite(url, key, slot_id, cron_secret)
            await serving
    finally:
        server.should_exit = True
        await serving
    return None


async def _race(client: httpx2.AsyncClient) -> str:
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


async def _complete(client: httpx2.AsyncClient, database: Database, cron_secret: SecretStr) -> None:
    """Import a booking that should have been completed long ago, and let one cron call do it."""
    external_id = f"demo-{secrets.token_hex(4)}"
    row = {
        "id": external_id,
        "pitch_id": "Pitch 7",
        "user_id": "nikos",
        "slot_datetime": "2025-12-20T09:00:00+00:00",
        "slot_datetime_end": "2025-12-20T10:00:00+00:00",
        "status": "active",
    }
    await import_bookings(database, OPERATOR, [row], "Europe/Athens", _fail)

    cron = {"Authorization": f"Bearer {cron_secret.get_secret_value()}"}
    report = (await client.post("/cron/process-jobs", headers=cron)).json()
    console.print("\n[bold]2. A booking of 20 December 2025 is still active; one cron call later[/]")
    console.print(
        f"   {report['processed']} completed in {report['elapsed_ms']} ms, {report['remaining_due']} left due."
    )

    bookings = (await client.get("/v1/bookings", params={"customer_ref": "nikos", "limit": 200})).json()["items"]
    booking = next(item for item in bookings if item["external_id"] == external_id)
    history = (await client.get(f"/v1/bookings/{booking['id']}/history")).json()["items"]
    console.print(f"\n[bold]3. The audit trail of booking {booking['reference']}[/]")
    for entry in history:
        console.print(_line(entry), soft_wrap=True)


def _line(entry: dict[str, Any]) -> str:
    """One entry of the audit trail, for a terminal."""
    at = datetime.fromisoformat(entry["created_at"]).strftime("%H:%M:%S.%f")[:-3]
    before, after = (entry["old_values"] or {}).get("status"), entry["new_values"]["status"]
    step = f"{before} → {after}" if before else after
    origin = f" @ {entry['ip_address']}" if entry["ip_address"] else ""
    return f"   {at}  {entry['event']:<18}  {step:<21}  by {entry['performed_by']} {entry['performed_by_id']}{origin}"


def _fail(number: int, external_id: str | None, reason: str) -> None:
    message = f"row {number} ({external_id}): {reason}"
    raise RuntimeError(message)


def _invite(url: str, key: str, slot_id: str, cron_secret: SecretStr) -> None:
    lines = {
        "serving": url,
        "docs": f"{url}/docs",
        "admin key": key,
        "cron secret": cron_secret.get_secret_value(),
    }
    console.print("\n[bold]Now you[/]")
    for name, value in lines.items():
        console.print(f"   {name:<12}{value}", soft_wrap=True)
    body = f'{{"slot_id": "{slot_id}", "customer": {{"ref": "you"}}}}'
    console.print(
        f"\ncurl -i {url}/v1/bookings -H 'Authorization: Bearer {key}' \\\n"
        f"  -H 'Content-Type: application/json' -d '{body}'\n",
        soft_wrap=True,
        markup=False,
    )
    console.print("Ctrl-C stops it; the data stays.", style="dim")
