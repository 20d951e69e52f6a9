"""What webhooks are made of in the database.

create_webhook_endpoint, update_webhook_endpoint, disable_webhook_endpoint, get_webhook_endpoint,
list_webhook_endpoints, lock_webhook_endpoint, require_enabled_endpoint, webhook_endpoint_json, rotate_webhook_secret,
test_webhook_endpoint; enqueue_deliveries, enqueue_delivery, delivery_request, end_delivery, jobs_end_delivery,
delivery_json, list_deliveries, get_delivery, replay_delivery, replay_events, prune_deliveries; old_webhook_secrets,
reseal_webhook_secret, webhook_secrets_by_key. The rest of them is proved where they are used: tests/webhooks.
"""

import json
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.concurrency.rivals import begin, outcomes, until_waiting
from tests.conftest import Connect
from tests.factories import ACTOR, SYSTEM, Factory, change_booking
from tests.sql.support import NOBODY, call, call_json, call_row, call_value, one, refused, violates
from tests.webhooks.support import Endpoint, add_endpoint, deliveries_of, endpoint_json

URL = "https://example.com/"
DAY = timedelta(days=1)


async def end(conn: asyncpg.Connection, delivery_id: str, status: int, now: datetime, error: str | None) -> None:
    await call(
        conn,
        "end_delivery",
        p_actor=SYSTEM,
        p_delivery_id=delivery_id,
        p_status=status,
        p_duration_ms=5,
        p_answer="",
        p_error=error,
        p_now=now,
    )


@pytest.fixture
async def endpoint(conn: asyncpg.Connection) -> Endpoint:
    return await add_endpoint(conn, URL, "booking.created")


@pytest.fixture
async def delivery(conn: asyncpg.Connection, make: Factory, endpoint: Endpoint) -> Any:
    """One that waits."""
    await make.booking()
    (delivery,) = await deliveries_of(conn, endpoint)
    return delivery


async def test_an_event_of_any_writer_has_a_delivery_and_a_job_in_its_transaction(
    conn: asyncpg.Connection, make: Factory
) -> None:
    booking_id = await make.booking()
    endpoint = await add_endpoint(conn, URL, "booking.modified")
    await conn.execute("""UPDATE bookings SET metadata = '{"a": 1}'""")

    (delivery,) = await deliveries_of(conn, endpoint)
    row = await one(conn, "SELECT audit_id FROM deliveries")
    event = await one(conn, "SELECT id, subject_id FROM audit_log WHERE event = 'booking.modified'")
    assert (row[0], delivery["event_id"], event[1]) == (event[0], f"evt_{event[0]}", str(booking_id))
    job = await one(conn, "SELECT job_type, dedupe_key, max_attempts, payload FROM jobs WHERE queue = 'webhooks'")
    payload = json.dumps({"delivery_id": delivery["id"], "endpoint_id": str(endpoint.id)})
    assert job == ("deliver_webhook", delivery["id"], 10, payload)
    assert datetime.fromisoformat(delivery["next_attempt_at"]) <= await conn.fetchval("SELECT now()")


async def test_what_is_sent_is_the_event_as_it_was(conn: asyncpg.Connection, make: Factory, endpoint: Endpoint) -> None:
    booking_id = await make.booking()
    (delivery,) = await deliveries_of(conn, endpoint)
    await change_booking(conn, "cancel_booking", booking_id, 1)

    request = await call_row(conn, "delivery_request", p_delivery_id=delivery["id"])

    body = json.loads(request["body"])
    assert (request["url"], request["event_id"], body["id"]) == (URL, delivery["event_id"], delivery["event_id"])
    assert (body["data"]["status"], body["data"]["customer_ref"], body["sequence"]) == ("confirmed", "ann", 1)


async def test_five_secrets_sign_at_most_and_none_that_is_over(conn: asyncpg.Connection, delivery: Any) -> None:
    now = await conn.fetchval("SELECT now()")
    for n in range(7):
        await call(
            conn,
            "rotate_webhook_secret",
            p_actor=ACTOR,
            p_endpoint_id=delivery["endpoint_id"],
            p_key_id=f"k{n}",
            p_nonce=bytes([n] * 12),
            p_ciphertext=b"",
            p_now=now + timedelta(hours=n),
        )

    async def keys_at(at: datetime) -> Any:
        return (await call_row(conn, "delivery_request", p_delivery_id=delivery["id"], p_now=at))["key_ids"]

    assert await keys_at(now + timedelta(hours=6)) == ["k6", "k5", "k4", "k3", "k2"]
    # k4 made way after five hours, k5 after six
    assert await keys_at(now + timedelta(hours=5) + DAY) == ["k6", "k5"]
    assert await keys_at(now + timedelta(hours=6) + DAY) == ["k6"]


async def test_what_is_delivered_is_not_sent_again_until_somebody_asks(conn: asyncpg.Connection, delivery: Any) -> None:
    now = await conn.fetchval("SELECT now()")
    await end(conn, delivery["id"], 200, now, None)
    assert await call(conn, "delivery_request", p_delivery_id=delivery["id"]) == []

    again = await call_json(conn, "replay_delivery", p_actor=ACTOR, p_delivery_id=delivery["id"])

    assert (again["status"], again["attempt_count"]) == ("pending", 1)
    (attempt,) = again["attempts"]
    assert datetime.fromisoformat(attempt.pop("ended_at")) == now
    assert attempt == {"attempt": 1, "status": 200, "duration_ms": 5, "answer": "", "error": None}
    assert len(await call(conn, "delivery_request", p_delivery_id=delivery["id"])) == 1


async def test_five_days_of_failure_and_three_attempts_disable(conn: asyncpg.Connection, delivery: Any) -> None:
    now = await conn.fetchval("SELECT now()")
    endpoint = Endpoint(delivery["endpoint_id"], "")
    for days in (0, 5):
        await end(conn, delivery["id"], 500, now + days * DAY, "HTTP 500")
    state = await endpoint_json(conn, endpoint)
    assert (state["is_enabled"], state["version"]) == (True, 1)
    assert datetime.fromisoformat(state["failing_since"]) == now
    await end(conn, delivery["id"], 500, now + 5 * DAY, "HTTP 500")

    state = await endpoint_json(conn, endpoint)
    assert (state["is_enabled"], state["disabled_reason"], state["version"]) == (False, "failing", 2)
    audited = "SELECT performed_by, xid IS NOT NULL FROM audit_log WHERE event = 'webhook_endpoint.disabled'"
    assert await one(conn, audited) == ("system", True)
    with refused("SB029", "webhook_endpoint_disabled"):
        await call(conn, "replay_delivery", p_actor=ACTOR, p_delivery_id=delivery["id"])


async def test_failing_and_working_again_is_no_change_of_an_admin(conn: asyncpg.Connection, delivery: Any) -> None:
    now = await conn.fetchval("SELECT now()")
    await end(conn, delivery["id"], 500, now, "HTTP 500")
    await end(conn, delivery["id"], 200, now, None)

    state = await endpoint_json(conn, Endpoint(delivery["endpoint_id"], ""))
    assert (state["failing_since"], state["version"]) == (None, 1)
    assert await one(conn, "SELECT count(*) FROM audit_log WHERE subject_type = 'webhook_endpoint'") == (1,)


async def test_deliveries_of_one_endpoint_do_not_wait_for_each_other(
    conn: asyncpg.Connection, connect: Connect, make: Factory, endpoint: Endpoint
) -> None:
    for _ in range(2):
        await make.booking()
    first, second = await deliveries_of(conn, endpoint)
    now, rival = await conn.fetchval("SELECT now()"), await connect()

    async with conn.transaction():
        await end(conn, first["id"], 200, now, None)
        # it would wait for the other's commit, which comes after it
        await end(rival, second["id"], 200, now, None)

    assert {d["status"] for d in await deliveries_of(conn, endpoint)} == {"delivered"}


async def test_a_change_waits_for_the_one_before_and_then_has_the_wrong_version(
    conn: asyncpg.Connection, connect: Connect, endpoint: Endpoint
) -> None:
    change = {"p_actor": ACTOR, "p_endpoint_id": endpoint.id, "p_version": 1}
    rivals = [await connect(), await connect()]
    async with conn.transaction():
        await conn.fetchval("SELECT lock_webhook_endpoint($1)", endpoint.id)
        tasks = begin(
            call_row(rival, "update_webhook_endpoint", p_changes=json.dumps({"description": str(n)}), **change)
            for n, rival in enumerate(rivals)
        )
        await until_waiting(await connect(), 2)

    won, lost = await outcomes(tasks)
    assert (len(won), lost) == (1, ["SB006 version_conflict"])


async def test_a_range_is_replayed_in_parts(conn: asyncpg.Connection, make: Factory) -> None:
    for _ in range(5):
        await make.booking()
    endpoint = await add_endpoint(conn, URL, "booking.created")
    begin_at, replayed = await conn.fetchval("SELECT min(created_at) FROM audit_log"), []
    end_at = await conn.fetchval("SELECT clock_timestamp()")
    while begin_at is not None:
        answer = await call_json(
            conn,
            "replay_events",
            p_actor=ACTOR,
            p_endpoint_id=endpoint.id,
            p_from=begin_at,
            p_to=end_at,
            p_limit=2,
        )
        replayed.append(answer["replayed"])
        begin_at = answer["next_from"] and datetime.fromisoformat(answer["next_from"])

    assert replayed == [2, 2, 1]
    assert len(await deliveries_of(conn, endpoint)) == 5


async def test_old_deliveries_are_forgotten_and_those_that_wait_are_not(
    conn: asyncpg.Connection, make: Factory, endpoint: Endpoint
) -> None:
    for _ in range(3):
        await make.booking()
    old, recent, waiting = await deliveries_of(conn, endpoint)
    now = await conn.fetchval("SELECT now()")
    await end(conn, old["id"], 200, now - 31 * DAY, None)
    await end(conn, recent["id"], 200, now - 29 * DAY, None)
    await conn.execute("UPDATE deliveries SET updated_at = now() - interval '99 days' WHERE status = 'pending'")

    assert await call_value(conn, "prune_deliveries", p_limit=10) == 1

    assert [d["id"] for d in await deliveries_of(conn, endpoint)] == [recent["id"], waiting["id"]]


@pytest.mark.parametrize(("job_status", "status"), [("discarded", "failed"), ("skipped", "cancelled")])
async def test_a_delivery_ends_with_its_job(
    conn: asyncpg.Connection, delivery: Any, job_status: str, status: str
) -> None:
    outcome = {"discarded": "permanent", "skipped": "skipped"}[job_status]
    (job,) = await conn.fetch("SELECT * FROM claim_jobs('test', 'webhooks', 1, '1 hour')")
    settled = [{"id": str(job["id"]), "lease_token": job["lease_token"], "outcome": outcome}]
    await call(conn, "settle_jobs", p_settlements=json.dumps(settled))

    (found,) = await deliveries_of(conn, Endpoint(delivery["endpoint_id"], ""))
    assert (found["status"], found["next_attempt_at"]) == (status, None)


async def test_a_delivery_that_was_asked_for_again_does_not_end_with_its_older_job(
    conn: asyncpg.Connection, delivery: Any
) -> None:
    (job,) = await conn.fetch("SELECT * FROM claim_jobs('test', 'webhooks', 1, '1 hour')")
    await call(conn, "replay_delivery", p_actor=ACTOR, p_delivery_id=delivery["id"])
    settled = [{"id": str(job["id"]), "lease_token": job["lease_token"], "outcome": "permanent"}]
    await call(conn, "settle_jobs", p_settlements=json.dumps(settled))

    (found,) = await deliveries_of(conn, Endpoint(delivery["endpoint_id"], ""))
    assert (found["status"], found["next_attempt_at"] is None) == ("pending", False)


async def test_a_secret_goes_under_another_key_unless_somebody_was_faster(
    conn: asyncpg.Connection, endpoint: Endpoint
) -> None:
    (old,) = await call(conn, "old_webhook_secrets", p_key_id="other")
    new: dict[str, Any] = {"p_actor": ACTOR, "p_secret_id": old["secret_id"], "p_key_id": "other"}
    new |= {"p_ciphertext": b"new", "p_old_nonce": old["nonce"], "p_nonce": b"n" * 12}

    assert await call_value(conn, "reseal_webhook_secret", **new) is True
    assert await call_value(conn, "reseal_webhook_secret", **new) is False
    assert [tuple(row) for row in await call(conn, "webhook_secrets_by_key")] == [("other", 1)]
    assert await call(conn, "old_webhook_secrets", p_key_id="other") == []
    assert old["endpoint_id"] == endpoint.id


async def test_what_makes_no_sense_is_not_stored_by_any_writer(conn: asyncpg.Connection, endpoint: Endpoint) -> None:
    for change, constraint in {
        "is_enabled = false": "webhook_endpoints_disabled_check",
        "disabled_reason = 'gone'": "webhook_endpoints_disabled_check",
        "is_enabled = false, disabled_reason = 'tired'": "webhook_endpoints_disabled_check",
        "event_types = '{}'": "webhook_endpoints_event_types_check",
    }.items():
        with violates(constraint):
            await conn.execute(f"UPDATE webhook_endpoints SET {change} WHERE id = $1", endpoint.id)


async def test_nobody_is_said_so(conn: asyncpg.Connection) -> None:
    calls: dict[str, dict[str, Any]] = {
        "get_webhook_endpoint": {"p_endpoint_id": NOBODY},
        "lock_webhook_endpoint": {"p_endpoint_id": NOBODY},
        "require_enabled_endpoint": {"p_endpoint_id": NOBODY},
        "test_webhook_endpoint": {"p_actor": ACTOR, "p_endpoint_id": NOBODY},
    }
    for function, arguments in calls.items():
        with refused("SB027", "webhook_endpoint_not_found"):
            await call(conn, function, **arguments)
    with refused("SB028", "delivery_not_found"):
        await call(conn, "get_delivery", p_delivery_id=NOBODY)
