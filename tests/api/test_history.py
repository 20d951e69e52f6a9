"""/v1/bookings/{id}/history: who changed what, from where, and why."""

from datetime import datetime, timedelta

import asyncpg
import httpx2

from tests.api.calls import booking_body
from tests.factories import Factory

FROM_HERE = {"User-Agent": "shop/1.0", "X-Request-ID": "req-42"}


async def history(client: httpx2.AsyncClient, booking_id: str) -> list[dict[str, object]]:
    answer = await client.get(f"/v1/bookings/{booking_id}/history")
    assert answer.status_code == 200
    items: list[dict[str, object]] = answer.json()["items"]
    return items


async def key_id(conn: asyncpg.Connection) -> str:
    return f"api_key:{await conn.fetchval('SELECT id FROM api_keys')}"


async def test_an_entry_says_who_from_where_with_what_and_in_which_request(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    answer = await frontend.post("/v1/bookings", json=booking_body(await make.slot()), headers=FROM_HERE)

    (entry,) = await history(frontend, answer.json()["id"])

    assert (entry["event"], entry["action_type"]) == ("booking.created", "created")
    assert (entry["performed_by"], entry["performed_by_id"]) == ("customer", await key_id(conn))
    assert (entry["ip_address"], entry["user_agent"], entry["request_id"]) == ("203.0.113.7", "shop/1.0", "req-42")
    assert answer.headers["x-request-id"] == "req-42"
    assert (entry["old_values"], entry["reason"]) == (None, None)


async def test_a_cancellation_keeps_its_reason_and_both_states(frontend: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = str(await make.booking())

    await frontend.post(
        f"/v1/bookings/{booking_id}/cancel", json={"reason": "it rains"}, headers={"If-Match": '"1"', **FROM_HERE}
    )

    _, entry = await history(frontend, booking_id)
    old, new = entry["old_values"], entry["new_values"]
    assert isinstance(old, dict)
    assert isinstance(new, dict)
    assert (entry["event"], entry["reason"], entry["request_id"]) == ("booking.cancelled", "it rains", "req-42")
    assert [(v["status"], v["version"], v["holds_place"]) for v in (old, new)] == [
        ("confirmed", 1, True),
        ("cancelled", 2, False),
    ]


async def test_an_admin_acts_as_admin(admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection) -> None:
    answer = await admin.post("/v1/bookings", json=booking_body(await make.slot()))

    (entry,) = await history(admin, answer.json()["id"])

    assert (entry["performed_by"], entry["performed_by_id"]) == ("admin", await key_id(conn))


async def test_the_processor_acts_as_the_system(
    cron: httpx2.AsyncClient, frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = str(await make.booking(p_payment_method="pay_now"))
    await conn.execute("UPDATE bookings SET expires_at = now() - interval '1 minute'")
    await conn.execute("UPDATE jobs SET run_at = now() - interval '1 minute'")

    await cron.post("/cron/process-jobs", headers=FROM_HERE)

    entry = (await history(frontend, booking_id))[-1]
    assert (entry["event"], entry["performed_by"], entry["performed_by_id"]) == ("booking.expired", "system", "cron")
    assert (entry["user_agent"], entry["request_id"]) == ("shop/1.0", "req-42")


async def test_a_write_around_the_api_is_on_record_as_the_database_users_own(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = str(await make.booking())
    await conn.execute("UPDATE bookings SET units = 2")

    entry = (await history(frontend, booking_id))[-1]

    assert (entry["event"], entry["performed_by"]) == ("booking.modified", "database")
    assert entry["performed_by_id"] == await conn.fetchval("SELECT session_user")


async def test_entries_come_oldest_first_with_their_instants(frontend: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = str(await make.booking())
    await frontend.post(f"/v1/bookings/{booking_id}/cancel", headers={"If-Match": '"1"'})

    created, cancelled = await history(frontend, booking_id)

    assert datetime.fromisoformat(str(created["created_at"])) < datetime.fromisoformat(str(cancelled["created_at"]))


async def test_a_replayed_request_is_not_on_record_twice(frontend: httpx2.AsyncClient, make: Factory) -> None:
    body = booking_body(await make.slot())
    for _ in range(3):
        answer = await frontend.post("/v1/bookings", json=body, headers={"Idempotency-Key": "key-1"})

    assert len(await history(frontend, answer.json()["id"])) == 1


async def test_the_audit_trail_holds_no_personal_data(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    personal = {"name": "Ann Archer", "email": "ann.archer@example.com", "phone": "+30 210 1234567"}
    slot_id = await make.slot(max_bookings=2)
    for customer in ({"ref": "c-1", **personal}, {"ref": "c-1", "phone": "+30 210 7654321"}):
        await frontend.post("/v1/bookings", json=booking_body(slot_id, customer=customer))

    trail = await conn.fetchval("SELECT string_agg(to_jsonb(a)::text, ' ') FROM audit_log a")

    assert not [value for value in (*personal.values(), "7654321") if value in trail]
    hidden = await conn.fetch("SELECT hidden_changes FROM audit_log WHERE subject_type = 'customer' ORDER BY id")
    assert [row["hidden_changes"] for row in hidden] == [["name", "email", "phone"], ["phone"]]


async def test_as_of_a_moment_it_says_what_was_known_then_and_how_the_booking_was(
    frontend: httpx2.AsyncClient, make: Factory
) -> None:
    booking_id = str(await make.booking())
    (created,) = await history(frontend, booking_id)
    before = (await frontend.get(f"/v1/bookings/{booking_id}")).json()
    await frontend.post(f"/v1/bookings/{booking_id}/cancel", json={}, headers={"If-Match": '"1"'})

    async def as_of(moment: datetime) -> dict[str, object]:
        answer = await frontend.get(f"/v1/bookings/{booking_id}/history", params={"as_of": moment.isoformat()})
        assert answer.status_code == 200
        body: dict[str, object] = answer.json()
        return body

    made_at = datetime.fromisoformat(str(created["created_at"]))
    assert await as_of(made_at) == {"booking": before, "items": [created]}
    assert await as_of(made_at - timedelta(microseconds=1)) == {"booking": None, "items": []}
    now = await as_of(made_at + timedelta(days=1))
    assert now["booking"] == (await frontend.get(f"/v1/bookings/{booking_id}")).json()
    assert len(await history(frontend, booking_id)) == 2


async def test_as_of_needs_a_zone(frontend: httpx2.AsyncClient, make: Factory) -> None:
    path = f"/v1/bookings/{await make.booking()}/history"

    assert (await frontend.get(path, params={"as_of": "2026-11-21T12:00:00"})).status_code == 422
