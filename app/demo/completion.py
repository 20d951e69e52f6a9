"""Parts 2 and 3: a booking that should be long over, one cron call, and what is on record then."""

import secrets
from datetime import datetime
from typing import Any

import httpx2
from pydantic import SecretStr

from app.bookings.importing import import_bookings
from app.database import Database
from app.demo.stage import OPERATOR, console


async def complete(client: httpx2.AsyncClient, database: Database, cron_secret: SecretStr) -> None:
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
