"""Slots added by hand, and what /v1/available-slots says of them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from tests.api.calls import assert_problem, book
from tests.factories import HOUR, TOMORROW, Factory


def slot(hours: int = 0, **overrides: Any) -> dict[str, Any]:
    starts_at = TOMORROW + hours * HOUR
    return {
        "starts_at": starts_at.isoformat(),
        "ends_at": (starts_at + HOUR).isoformat(),
        "max_bookings": 3,
        **overrides,
    }


async def add(client: httpx2.AsyncClient, resource_id: UUID, *slots: dict[str, Any]) -> httpx2.Response:
    return await client.post(f"/v1/resources/{resource_id}/slots", json={"slots": slots})


async def available(client: httpx2.AsyncClient, resource_id: UUID, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/available-slots", params={"resource_id": str(resource_id), **query})
    assert answer.status_code == 200, answer.text
    slots: list[dict[str, Any]] = answer.json()["slots"]
    return slots


async def test_added_slots_are_free_at_once(
    admin: httpx2.AsyncClient, public: httpx2.AsyncClient, make: Factory
) -> None:
    resource_id = await make.resource()

    added = await add(admin, resource_id, slot(1, max_units=9), slot(0))

    body = added.json()
    assert (added.status_code, body["created"], body["kept"]) == (201, 2, 0)
    assert [s["max_units"] for s in body["slots"]] == [None, 9]
    assert await available(public, resource_id) == body["slots"]
    assert all(s["available"] and s["reason"] is None for s in body["slots"])


async def test_adding_a_slot_again_keeps_the_one_that_is_there(admin: httpx2.AsyncClient, make: Factory) -> None:
    resource_id = await make.resource()
    first = (await add(admin, resource_id, slot(max_bookings=3))).json()

    again = (await add(admin, resource_id, slot(max_bookings=8), slot(1))).json()

    assert (again["created"], again["kept"]) == (1, 1)
    assert again["slots"][0] == first["slots"][0]


async def test_one_bad_slot_adds_none(admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection) -> None:
    answer = await add(admin, await make.resource(), slot(), slot(1, max_bookings=0))

    assert assert_problem(answer, 422, "validation")["errors"][0]["field"] == "body.slots.1.max_bookings"
    assert await conn.fetchval("SELECT count(*) FROM slots") == 0


@pytest.mark.parametrize("minutes", [0, -60])
async def test_a_slot_must_end_after_it_starts(admin: httpx2.AsyncClient, make: Factory, minutes: int) -> None:
    backwards = slot(ends_at=(TOMORROW + timedelta(minutes=minutes)).isoformat())

    assert_problem(await add(admin, await make.resource(), backwards), 422, "validation")


async def test_slots_of_an_unknown_resource_are_not_found(
    admin: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    nowhere = uuid4()

    assert_problem(await add(admin, nowhere, slot()), 404, "resource_not_found")
    asked = await public.get("/v1/available-slots", params={"resource_id": str(nowhere)})
    assert_problem(asked, 404, "resource_not_found")


async def test_what_is_left_shrinks_with_each_booking_until_the_slot_is_full(
    frontend: httpx2.AsyncClient, public: httpx2.AsyncClient, make: Factory
) -> None:
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, max_bookings=2, max_units=10)

    left = []
    for _ in range(2):
        await book(frontend, slot_id, units=4)
        (seen,) = await available(public, resource_id)
        left.append((seen["remaining_bookings"], seen["remaining_units"], seen["available"], seen["reason"]))

    assert left == [(1, 6, True, None), (0, 2, False, "full")]


async def test_a_slot_counts_as_full_for_who_asks_for_more_units_than_are_left(
    public: httpx2.AsyncClient, make: Factory
) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id, max_bookings=9, max_units=5)

    (enough,) = await available(public, resource_id, units=5)
    (too_few,) = await available(public, resource_id, units=6)

    assert (enough["available"], too_few["available"], too_few["reason"]) == (True, False, "full")


async def test_a_slot_that_has_begun_is_past(public: httpx2.AsyncClient, make: Factory) -> None:
    resource_id = await make.resource()
    begun = datetime.now(UTC) - timedelta(minutes=5)
    await make.slot(resource_id, starts_at=begun)

    (seen,) = await available(public, resource_id, **{"from": (begun - HOUR).isoformat()})

    assert (seen["available"], seen["reason"]) == (False, "past")


async def test_the_range_takes_slots_that_start_in_it_and_not_at_its_end(
    public: httpx2.AsyncClient, make: Factory
) -> None:
    resource_id = await make.resource()
    for hours in range(4):
        await make.slot(resource_id, starts_at=TOMORROW + hours * HOUR)

    seen = await available(
        public, resource_id, **{"from": (TOMORROW + HOUR).isoformat(), "to": (TOMORROW + 3 * HOUR).isoformat()}
    )

    starts = [datetime.fromisoformat(s["starts_at"]) for s in seen]
    assert starts == [TOMORROW + HOUR, TOMORROW + 2 * HOUR]


async def test_a_range_is_seven_days_where_none_is_given(public: httpx2.AsyncClient, make: Factory) -> None:
    resource_id = await make.resource()
    inside = await make.slot(resource_id, starts_at=datetime.now(UTC) + timedelta(days=6, hours=23))
    await make.slot(resource_id, starts_at=datetime.now(UTC) + timedelta(days=7, hours=1))

    assert [s["id"] for s in await available(public, resource_id)] == [str(inside)]


@pytest.mark.parametrize(
    ("starting", "before"),
    [
        ("2030-01-02T00:00:00Z", "2030-01-01T00:00:00Z"),
        ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        ("2030-01-01T00:00:00Z", "2030-04-03T00:00:01Z"),
    ],
)
async def test_a_range_that_is_empty_or_too_long_is_refused(
    public: httpx2.AsyncClient, make: Factory, starting: str, before: str
) -> None:
    query = {"resource_id": str(await make.resource()), "from": starting, "to": before}

    assert_problem(await public.get("/v1/available-slots", params=query), 422, "validation")


async def test_times_come_in_the_zone_of_the_resource_and_follow_its_summer_time(
    public: httpx2.AsyncClient, make: Factory
) -> None:
    resource_id = await make.resource(timezone="Europe/Athens")
    # the clocks go back at 01:00 UTC between the two
    await make.slot(resource_id, starts_at=datetime(2031, 10, 25, 12, tzinfo=UTC))
    await make.slot(resource_id, starts_at=datetime(2031, 10, 26, 12, tzinfo=UTC))

    seen = await available(public, resource_id, **{"from": "2031-10-25T00:00:00Z"})

    assert [s["starts_at"] for s in seen] == ["2031-10-25T15:00:00+03:00", "2031-10-26T14:00:00+02:00"]


async def test_a_caller_may_ask_for_another_zone_and_the_next_one_is_not_affected(
    public: httpx2.AsyncClient, make: Factory
) -> None:
    resource_id = await make.resource(timezone="UTC")
    await make.slot(resource_id, starts_at=TOMORROW)

    (elsewhere,) = await available(public, resource_id, tz="Asia/Kathmandu")
    (here,) = await available(public, resource_id)

    assert elsewhere["starts_at"].endswith("+05:45")
    assert here["starts_at"].endswith("+00:00")
    assert datetime.fromisoformat(elsewhere["starts_at"]) == datetime.fromisoformat(here["starts_at"])


async def test_legacy_slots_are_not_listed(public: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id)
    await conn.execute("UPDATE slots SET is_legacy = true")

    assert await available(public, resource_id) == []
