"""A customer who left a word that nobody else uses in every field there is."""

import json
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import jwt

from tests.api.calls import booking_body
from tests.credentials.support import put_provider
from tests.factories import TOMORROW, Factory
from tests.webhooks.support import add_endpoint

WORD = "Zebedee"
REF = f"ref-{WORD}"
PHONE = "6912345678"
IP = "198.51.100.77"
EMAIL = f"{WORD}@example.com"
GUEST = {"name": f"{WORD} Name", "email": EMAIL, "phone": f"+30{PHONE}"}
CUSTOMER = GUEST | {"ref": REF}
FROM = {"User-Agent": f"{WORD}-browser", "X-Forwarded-For": IP}
# as pg_dump writes bytea too
TRACES = (WORD, WORD.encode().hex(), PHONE, IP)
# what a frontend may know of a person
NOTE = {"note": WORD, "deep": [{"phone": PHONE}]}
JWT_SECRET = "a-secret-for-tests-that-is-long-enough"  # noqa: S105

THEIRS = f"""booking_id IN (
  SELECT b.id FROM bookings b JOIN customers c ON c.id = b.customer_id WHERE c.email = '{EMAIL}'
)"""
WHAT_OTHERS_SAID = (
    f"UPDATE messages SET detail = '{WORD}', provider_ref = '{WORD}', language = 'el-{WORD}'",
    f"UPDATE deliveries SET last_answer = '{WORD}', last_error = '{WORD}', attempts = 1",
    f"""INSERT INTO delivery_attempts (delivery_id, attempt, duration_ms, answer, error, ended_at)
    SELECT id, 1, 1, '{WORD}', '{WORD}', now() FROM deliveries""",
    "UPDATE prebookings SET status = 'executing' WHERE provider IS NOT NULL",
    f"""UPDATE prebookings SET status = 'failed', reason = 'gave_up', detail = '{WORD}', confirmation = '{WORD}'
    WHERE status = 'executing'""",
    f"""INSERT INTO prebooking_attempts (prebooking_id, choice, finding, detail, confirmation, started_at, ended_at)
    SELECT id, 1, 'refused', '{WORD}', '{WORD}', now(), now() FROM prebookings WHERE provider IS NOT NULL""",
    f"UPDATE provider_credentials SET status = 'invalid', check_detail = '{WORD}', checked_at = now()",
    f"""UPDATE jobs SET error_message = '{WORD}', result = '{{"said": "{WORD}"}}'
    WHERE {THEIRS} OR queue LIKE 'provider:%'""",
    f"""INSERT INTO job_attempts (job_id, lease_token, attempt, instance_id, outcome, error_message, started_at,
      ended_at)
    SELECT id, 1, 1, 'test', 'failed', '{WORD}', now(), now() FROM jobs WHERE {THEIRS}""",
)


def token() -> str:
    """The customer's own."""
    return jwt.encode({"sub": REF, "exp": 4_000_000_000}, JWT_SECRET, "HS256")


async def prepare(conn: asyncpg.Connection) -> tuple[UUID, UUID]:
    """A slot with room and one that somebody else filled; a provider, channels and an endpoint for what happens."""
    make = Factory(conn)
    full = await make.slot(starts_at=TOMORROW)
    await make.booking(full, p_customer='{"ref": "other"}')
    await put_provider(conn)
    await add_endpoint(conn, "https://example.com/")
    await conn.execute("INSERT INTO message_channels (name, is_enabled) VALUES ('email', true), ('sms', true)")
    return await make.slot(starts_at=TOMORROW, max_bookings=9), full


async def leave_traces(frontend: httpx2.AsyncClient, conn: asyncpg.Connection, slot_id: UUID, full: UUID) -> None:
    """Book, cancel, move, wait, prebook, store credentials, subscribe, through a frontend and with one's own token."""
    own = FROM | {"Authorization": f"Bearer {token()}"}
    first = await post(frontend, "/v1/bookings", booking_body(slot_id, customer=CUSTOMER, metadata=NOTE), key="one")
    second = await post(frontend, "/v1/bookings", {"slot_id": str(slot_id), "metadata": NOTE}, own, key="two")
    await post(frontend, "/v1/bookings/batch", {"items": [{"slot_id": str(slot_id), "metadata": NOTE}]}, own, key="3")
    for booking in (first, second):
        change = {"If-Match": '"1"', "X-Request-ID": f"{WORD}.{booking['id']}"}
        await post(frontend, f"/v1/bookings/{booking['id']}/cancel", {"reason": f"{WORD} is ill"}, own | change)
    entry = await post(frontend, "/v1/waitlist", {"slot_id": str(full)}, own)
    await post(frontend, f"/v1/waitlist/{entry['id']}/leave", {}, own)
    await post(frontend, "/v1/bookings", booking_body(await Factory(conn).slot(), customer=CUSTOMER | {"name": WORD}))
    wish = {"provider": "gametime", "target": NOTE, "preferences": [NOTE], "opens_at": "2030-01-01T00:00:00Z"}
    await post(frontend, "/v1/prebookings", wish, own)
    secret = {"fields": {"password": WORD}}
    assert (await frontend.put("/v1/credentials/gametime", json=secret, headers=own)).is_success
    await post(frontend, f"/v1/customers/{REF}/calendar-feeds", {}, own)
    wishes = {"language": "el", "timezone": "Europe/Athens"}
    assert (await frontend.put(f"/v1/customers/{REF}/preferences", json=wishes, headers=own)).is_success
    await end_it_all(conn, full)


async def leave_traces_as_a_guest(
    frontend: httpx2.AsyncClient, conn: asyncpg.Connection, slot_id: UUID, full: UUID
) -> None:
    """Book, cancel, wait and prebook through a frontend, each time as somebody without a ref."""
    booking = await post(frontend, "/v1/bookings", booking_body(slot_id, customer=GUEST, metadata=NOTE), key="one")
    change = FROM | {"If-Match": '"1"', "X-Request-ID": f"{WORD}.{booking['id']}"}
    await post(frontend, f"/v1/bookings/{booking['id']}/cancel", {"reason": f"{WORD} is ill"}, change, key="two")
    items = [{"slot_id": str(slot_id), "metadata": NOTE}]
    await post(frontend, "/v1/bookings/batch", {"customer": GUEST, "items": items}, key="three")
    entry = await post(frontend, "/v1/waitlist", {"slot_id": str(full), "customer": GUEST})
    await post(frontend, f"/v1/waitlist/{entry['id']}/leave", {})
    wish = {"provider": "gametime", "target": NOTE, "preferences": [NOTE], "opens_at": "2030-01-01T00:00:00Z"}
    await post(frontend, "/v1/prebookings", wish | {"customer": GUEST}, key="four")
    await end_it_all(conn, full)


async def end_it_all(conn: asyncpg.Connection, full: UUID) -> None:
    """Nothing is still to happen, but in the slot that somebody else filled; and others left their words too."""
    await conn.execute("UPDATE bookings SET status = 'cancelled' WHERE status = 'confirmed' AND slot_id <> $1", full)
    for said in WHAT_OTHERS_SAID:
        await conn.execute(said)


async def post(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any], headers: dict[str, str] = FROM, key: str | None = None
) -> dict[str, Any]:
    """POST, and what came of it. Fails when it was refused."""
    key_header = {"Idempotency-Key": f"{WORD}-{key}"} if key else {}
    answer = await client.post(path, json=body, headers=headers | key_header)
    assert answer.is_success, answer.text
    found: dict[str, Any] = json.loads(answer.text or "{}")
    return found
