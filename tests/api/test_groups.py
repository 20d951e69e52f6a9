"""/v1/bookings/batch and /v1/bookings/recurring: several bookings in one step."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.main import create_app
from app.settings import Settings
from tests.api.calls import assert_problem
from tests.conftest import client_of
from tests.contracts.test_responses import assert_declared
from tests.factories import HOUR, TOMORROW, Factory, make_api_key
from tests.sql.schedules import RULES
from tests.unit.test_tokens import SECRET, signed

BATCH, RECURRING = "/v1/bookings/batch", "/v1/bookings/recurring"
WEEK = timedelta(days=7)


def keyed(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}


async def batch(
    client: httpx2.AsyncClient, slot_ids: list[UUID], key: str | None = None, **overrides: Any
) -> httpx2.Response:
    """POST /v1/bookings/batch of one unit in each of these slots."""
    body = {"items": [{"slot_id": str(slot_id)} for slot_id in slot_ids], "customer": {"ref": "ann"}} | overrides
    return await client.post(BATCH, json=body, headers=keyed(key))


async def recur(client: httpx2.AsyncClient, slot_id: UUID, key: str | None = None, **overrides: Any) -> httpx2.Response:
    """POST /v1/bookings/recurring, three weeks where nothing else is said."""
    body = {"slot_id": str(slot_id), "count": 3, "customer": {"ref": "ann"}} | overrides
    return await client.post(RECURRING, json=body, headers=keyed(key))


async def slots(make: Factory, count: int = 3, every: timedelta = WEEK, **limits: Any) -> list[UUID]:
    """So many slots of one resource, a week apart."""
    resource_id = await make.resource()
    return [await make.slot(resource_id, starts_at=TOMORROW + n * every, **limits) for n in range(count)]


async def booked(conn: asyncpg.Connection) -> int:
    return int(await conn.fetchval("SELECT count(*) FROM bookings"))


async def test_a_batch_answers_its_bookings_in_the_order_of_its_items(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    first, second = await slots(make, 2, max_bookings=2, max_units=9)
    items = [
        {"slot_id": str(second), "units": 2, "metadata": {"seat": 1}},
        {"slot_id": str(first)},
        {"slot_id": str(second), "units": 3},
    ]

    answer = await batch(frontend, [], items=items)

    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert_declared(answer, BATCH)
    made = answer.json()["bookings"]
    assert [(b["slot_id"], b["units"], b["metadata"], b["status"]) for b in made] == [
        (str(second), 2, {"seat": 1}, "confirmed"),
        (str(first), 1, {}, "confirmed"),
        (str(second), 3, {}, "confirmed"),
    ]
    assert (await frontend.get(f"/v1/bookings/{made[0]['id']}")).json() == made[0]
    assert await booked(conn) == 3


async def test_a_batch_to_be_paid_now_is_holds(frontend: httpx2.AsyncClient, make: Factory) -> None:
    answer = await batch(frontend, await slots(make, 2), payment_method="pay_now")

    assert_declared(answer, BATCH)
    assert [b["status"] for b in answer.json()["bookings"]] == ["pending", "pending"]
    assert all(b["expires_at"] for b in answer.json()["bookings"])


Spoil = Callable[[Factory, UUID], Awaitable[None]]


async def _fill(make: Factory, slot_id: UUID) -> None:
    await make.booking(slot_id, p_customer='{"ref": "owner"}')


async def _close(make: Factory, slot_id: UUID) -> None:
    await make.conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", slot_id)


async def _begin(make: Factory, slot_id: UUID) -> None:
    await make.conn.execute("UPDATE slots SET starts_at = $2 WHERE id = $1", slot_id, datetime.now(UTC) - HOUR)


async def _shrink(make: Factory, slot_id: UUID) -> None:
    await make.conn.execute("UPDATE slots SET max_units = 1 WHERE id = $1", slot_id)


SPOILT: dict[str, Spoil] = {
    "slot_full": _fill,
    "slot_closed": _close,
    "slot_in_past": _begin,
    "insufficient_units": _shrink,
}


@pytest.mark.parametrize("code", SPOILT)
async def test_a_batch_with_one_that_cannot_be_had_is_refused_as_that_one_would_be(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, code: str
) -> None:
    slot_ids = await slots(make)
    await SPOILT[code](make, slot_ids[1])
    before = await booked(conn)

    answer = await batch(frontend, [], items=[{"slot_id": str(slot_id), "units": 2} for slot_id in slot_ids])

    assert assert_problem(answer, 409, code)["slot_id"] == str(slot_ids[1])
    assert_declared(answer, BATCH, extra=True)
    assert await booked(conn) == before


async def test_a_batch_that_asks_for_more_of_one_slot_than_is_left_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    (slot_id,) = await slots(make, 1, max_bookings=2)

    problem = assert_problem(await batch(frontend, [slot_id] * 3), 409, "slot_full")

    assert (problem["remaining_bookings"], await booked(conn)) == (2, 0)


async def test_a_batch_counts_against_the_limit_of_bookings_a_customer(
    frontend: httpx2.AsyncClient, admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_ids = await slots(make)
    resource_id = await conn.fetchval("SELECT resource_id FROM slots LIMIT 1")
    rules = RULES | {"max_bookings_per_customer": 2}
    assert (await admin.put(f"/v1/resources/{resource_id}/schedule", json=rules)).status_code == 200

    assert assert_problem(await batch(frontend, slot_ids), 409, "limit_reached")["limit"] == 2
    assert await booked(conn) == 0
    # a frontend has no authority to pass over it, whatever it says
    assert_problem(await batch(frontend, slot_ids, reason="a regular"), 409, "limit_reached")
    assert (await batch(admin, slot_ids, reason="a regular")).status_code == 201


async def test_a_repeated_batch_or_series_is_answered_again_and_made_once(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_ids = await slots(make, max_bookings=9)
    attempts: list[Callable[[], Awaitable[httpx2.Response]]] = [
        lambda: batch(frontend, slot_ids, "k"),
        lambda: recur(frontend, slot_ids[0], "k"),
    ]

    for attempt in attempts:
        first, again = await attempt(), await attempt()
        assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
        assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")

    assert await booked(conn) == 6


@pytest.mark.parametrize(
    "other",
    [
        {"customer": {"ref": "ben"}},
        {"payment_method": "pay_now"},
        {"reason": "another"},
    ],
)
async def test_the_same_key_for_another_batch_or_series_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, other: dict[str, Any]
) -> None:
    slot_ids = await slots(make, max_bookings=9)
    await batch(frontend, slot_ids, "k")
    await recur(frontend, slot_ids[0], "k")

    assert_problem(await batch(frontend, slot_ids, "k", **other), 422, "idempotency_conflict")
    assert_problem(await batch(frontend, slot_ids[::-1], "k"), 422, "idempotency_conflict")
    assert_problem(await recur(frontend, slot_ids[0], "k", **other), 422, "idempotency_conflict")
    assert_problem(await recur(frontend, slot_ids[0], "k", count=2), 422, "idempotency_conflict")

    assert await booked(conn) == 6


async def test_a_series_reports_each_occurrence(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_ids = await slots(make)

    answer = await recur(frontend, slot_ids[0], metadata={"team": 7})

    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert_declared(answer, RECURRING)
    series = answer.json()
    assert series["booked"] == 3
    found = series["occurrences"]
    assert [(o["occurrence"], o["slot_id"], o["code"]) for o in found] == [
        (n + 1, str(slot_ids[n]), None) for n in range(3)
    ]
    assert [o["booking"]["metadata"] for o in found] == [{"team": 7}] * 3
    assert [datetime.fromisoformat(o["local_start"]) for o in found] == [
        (TOMORROW + n * WEEK).replace(tzinfo=None) for n in range(3)
    ]


@pytest.mark.parametrize(
    ("step", "every"),
    [
        ({"every": "day"}, timedelta(days=1)),
        ({"every": "day", "interval": 3}, timedelta(days=3)),
        ({"every": "week", "interval": 2}, timedelta(days=14)),
    ],
)
async def test_a_series_steps_as_it_was_told(
    frontend: httpx2.AsyncClient, make: Factory, step: dict[str, Any], every: timedelta
) -> None:
    slot_ids = await slots(make, every=every)

    answer = await recur(frontend, slot_ids[0], **step)

    assert [o["slot_id"] for o in answer.json()["occurrences"]] == [str(slot_id) for slot_id in slot_ids]


async def test_a_series_with_gaps_is_refused_or_skips_them_as_it_was_told(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_ids = await slots(make, 2)
    await _fill(make, slot_ids[1])

    refused = await recur(frontend, slot_ids[0])
    assert assert_problem(refused, 409, "slot_full")["slot_id"] == str(slot_ids[1])
    assert_declared(refused, RECURRING, extra=True)
    assert await booked(conn) == 1

    skipped = await recur(frontend, slot_ids[0], on_conflict="skip")
    assert_declared(skipped, RECURRING)
    assert skipped.json()["booked"] == 1
    assert [o["code"] for o in skipped.json()["occurrences"]] == [None, "slot_full", "slot_not_found"]
    assert await booked(conn) == 2


async def test_a_series_of_which_nothing_can_be_had_is_refused_also_with_skip(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_ids = await slots(make, 1)
    await _fill(make, slot_ids[0])

    problem = assert_problem(await recur(frontend, slot_ids[0], on_conflict="skip"), 404, "slot_not_found")

    # of the last occurrence, which no slot has
    assert problem["occurrence"] == 3
    assert await booked(conn) == 1


async def test_unknown_slots_are_not_found(frontend: httpx2.AsyncClient, make: Factory) -> None:
    (slot_id,) = await slots(make, 1)
    nowhere = uuid4()

    assert assert_problem(await batch(frontend, [slot_id, nowhere]), 404, "slot_not_found")["slot_id"] == str(nowhere)
    assert assert_problem(await recur(frontend, nowhere), 404, "slot_not_found")["slot_id"] == str(nowhere)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"items": []}, "body.items"),
        ({"items": [{"slot_id": str(UUID(int=n))} for n in range(101)]}, "body.items"),
        ({"items": [{"slot_id": "x"}]}, "body.items.0.slot_id"),
        ({"items": [{"slot_id": str(UUID(int=1)), "units": 0}]}, "body.items.0.units"),
        ({"items": [{"slot_id": str(UUID(int=1)), "customer": {"ref": "ben"}}]}, "body.items.0.customer"),
        ({"customer": None}, "body.customer"),
        ({"payment_method": "cash"}, "body.payment_method"),
        ({"units": 1}, "body.units"),
    ],
)
async def test_a_batch_of_another_form_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, change: dict[str, Any], field: str
) -> None:
    answer = await batch(frontend, await slots(make, 1), **change)

    assert assert_problem(answer, 422, "validation")["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"count": 1}, "body.count"),
        ({"count": 101}, "body.count"),
        ({"count": "3"}, "body.count"),
        ({"interval": 0}, "body.interval"),
        ({"interval": 53}, "body.interval"),
        ({"every": "month"}, "body.every"),
        ({"on_conflict": "ignore"}, "body.on_conflict"),
        ({"customer": None}, "body.customer"),
        ({"items": []}, "body.items"),
    ],
)
async def test_a_series_of_another_form_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, change: dict[str, Any], field: str
) -> None:
    (slot_id,) = await slots(make, 1)

    answer = await recur(frontend, slot_id, **change)

    assert assert_problem(answer, 422, "validation")["errors"][0]["field"] == field


async def test_the_longest_series_and_the_largest_batch_are_made(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_ids = await slots(make, 100, timedelta(days=1), max_bookings=2)

    assert len((await batch(frontend, slot_ids)).json()["bookings"]) == 100
    assert (await recur(frontend, slot_ids[0], every="day", count=100)).json()["booked"] == 100
    assert await booked(conn) == 200


@pytest.mark.parametrize("path", [BATCH, RECURRING])
async def test_strangers_and_other_keys_are_refused(
    public: httpx2.AsyncClient, app: FastAPI, conn: asyncpg.Connection, path: str
) -> None:
    assert_problem(await public.post(path, json={}), 401, "unauthorized")
    async with client_of(app, await make_api_key(conn, "cron")) as cron_key:
        assert_problem(await cron_key.post(path, json={}), 403, "forbidden")


async def test_customers_book_several_for_themselves_alone(settings: Settings, make: Factory) -> None:
    slot_ids = await slots(make, max_bookings=9)
    app = create_app(settings.model_copy(update={"jwt_secret": SecretStr(SECRET)}))
    async with app.router.lifespan_context(app), client_of(app, signed(SECRET, sub="ann")) as ann:
        for customer in (None, {"ref": "ann"}, {"name": "Ann"}):
            many = await batch(ann, slot_ids, customer=customer)
            series = await recur(ann, slot_ids[0], customer=customer)
            made = many.json()["bookings"] + [o["booking"] for o in series.json()["occurrences"]]
            assert [booking["customer_ref"] for booking in made] == ["ann"] * 6

        for answer in (
            await batch(ann, slot_ids, customer={"ref": "ben"}),
            await recur(ann, slot_ids[0], customer={"ref": "ben"}),
        ):
            assert_problem(answer, 403, "forbidden")
