"""/v1/resources/{id}/schedule and its exceptions: rules in, a plan out, and slots that anybody can see."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from tests.api.calls import assert_problem, book
from tests.factories import Factory
from tests.sql.schedules import everything

DAILY = [{"weekday": day, "opens": "09:00", "closes": "12:00"} for day in range(1, 8)]
RULES: dict[str, Any] = {"slot_minutes": 60, "max_bookings": 2, "weekly": DAILY, "horizon_days": 3}
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()
CLOSED = {"closed": True}


def path_of(resource_id: UUID, tail: str = "schedule") -> str:
    return f"/v1/resources/{resource_id}/{tail}"


async def put(client: httpx2.AsyncClient, resource_id: UUID, params: dict[str, Any] | None = None, **rules: Any) -> Any:
    """The plan that these rules amount to."""
    answer = await client.put(path_of(resource_id), json=RULES | rules, params=params or {})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def starts(client: httpx2.AsyncClient, resource_id: UUID, day: date = TOMORROW) -> list[str]:
    """When the slots of that day start that a newcomer can see."""
    answer = await client.get(
        "/v1/available-slots",
        params={
            "resource_id": str(resource_id),
            "from": f"{day}T00:00:00Z",
            "to": f"{day + timedelta(days=1)}T00:00:00Z",
        },
    )
    assert answer.status_code == 200, answer.text
    return [slot["starts_at"][11:16] for slot in answer.json()["slots"]]


async def test_rules_become_slots_that_anybody_sees_and_books(
    make: Factory, admin: httpx2.AsyncClient, frontend: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    resource_id = await make.resource()

    plan = await put(admin, resource_id)

    assert plan["created"] in {9, 10, 11, 12}  # today's slots go by as the day does
    assert await starts(public, resource_id) == ["09:00", "10:00", "11:00"]
    slots = (await public.get("/v1/available-slots", params={"resource_id": str(resource_id)})).json()["slots"]
    assert (await book(frontend, slots[0]["id"])).status_code == 201


async def test_rules_are_read_as_they_were_put_with_what_was_not_said(
    make: Factory, admin: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    resource_id = await make.resource(timezone="Europe/Athens")
    await put(admin, resource_id)

    read = await public.get(path_of(resource_id))

    body = read.json()
    assert (read.status_code, read.headers["etag"], body["version"]) == (200, '"1"', 1)
    assert body.items() >= RULES.items()
    assert (body["timezone"], body["hold_minutes"], body["exceptions"]) == ("Europe/Athens", 15, [])


async def test_the_same_rules_again_change_nothing(
    make: Factory, admin: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    first = await put(admin, resource_id)
    before = await everything(conn)

    again = await put(admin, resource_id)

    assert again == first | {"created": 0, "kept": first["created"]}
    after = await everything(conn)
    assert {name for name, rows in after.items() if rows != before[name]} <= {"api_keys"}  # when it was last used


async def test_a_dry_run_answers_the_plan_that_is_then_done(
    make: Factory, admin: httpx2.AsyncClient, frontend: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    resource_id = await make.resource()
    await put(admin, resource_id)
    day = {"resource_id": str(resource_id), "from": f"{TOMORROW}T10:00:00Z", "to": f"{TOMORROW}T11:00:00Z"}
    (slot,) = (await public.get("/v1/available-slots", params=day)).json()["slots"]
    booking = (await book(frontend, slot["id"])).json()

    dry = await put(admin, resource_id, {"dry_run": "true"}, slot_minutes=90)
    assert await starts(public, resource_id) == ["09:00", "10:00", "11:00"]
    done = await put(admin, resource_id, slot_minutes=90)

    assert dry == done | {"dry_run": True}
    assert done["legacy"] == 1
    (affected,) = done["affected_bookings"]
    assert (affected["id"], affected["customer_ref"], affected["status"]) == (booking["id"], "ann", "confirmed")
    assert await starts(public, resource_id) == ["09:00", "10:30"]
    assert (await admin.get(f"/v1/bookings/{booking['id']}")).json()["slot_id"] == slot["id"]


async def test_a_date_is_closed_has_hours_of_its_own_and_then_the_weekly_ones_again(
    make: Factory, admin: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    resource_id = await make.resource()
    await put(admin, resource_id)
    day = path_of(resource_id, f"exceptions/{TOMORROW}")

    closed = (await admin.put(day, json=CLOSED)).json()
    assert (closed["removed"], await starts(public, resource_id)) == (3, [])

    special = (await admin.put(day, json={"hours": [{"opens": "14:00", "closes": "16:00"}]})).json()
    assert (special["created"], await starts(public, resource_id)) == (2, ["14:00", "15:00"])
    assert (await public.get(path_of(resource_id))).json()["exceptions"] == [
        {"date": str(TOMORROW), "hours": [{"opens": "14:00", "closes": "16:00"}]}
    ]

    dry = (await admin.delete(day, params={"dry_run": "true"})).json()
    back = (await admin.delete(day)).json()
    assert dry == back | {"dry_run": True}
    assert (back["removed"], back["created"]) == (2, 3)
    assert await starts(public, resource_id) == ["09:00", "10:00", "11:00"]
    assert (await admin.delete(day)).json()["created"] == 0


@pytest.mark.parametrize("dry_run", ["true", "false"])
async def test_hours_that_overlap_are_refused(make: Factory, admin: httpx2.AsyncClient, dry_run: str) -> None:
    resource_id = await make.resource()
    times = (("09:00", "12:00"), ("11:00", "13:00"))
    weekly = [{"weekday": 1, "opens": opens, "closes": closes} for opens, closes in times]

    answer = await admin.put(path_of(resource_id), json=RULES | {"weekly": weekly}, params={"dry_run": dry_run})

    problem = assert_problem(answer, 422, "invalid_hours")
    assert problem["hours"] == weekly[-1]
    assert_problem(await admin.get(path_of(resource_id)), 404, "schedule_not_found")


@pytest.mark.parametrize(
    "wrong",
    [
        {"slot_minutes": 0},
        {"slot_minutes": 1441},
        {"slot_minutes": "60"},
        {"max_bookings": 0},
        {"max_units": 0},
        {"horizon_days": 401},
        {"min_notice_minutes": -1},
        {"opens_at_local": "8:00"},
        {"opens_at_local": "25:00"},
        {"weekly": [{"weekday": 8, "opens": "09:00", "closes": "12:00"}]},
        {"weekly": [{"weekday": 1, "opens": "nine", "closes": "12:00"}]},
        {"weekly": [{"weekday": 1, "opens": "12:00", "closes": "09:00"}]},
        {"weekly": [{"weekday": 1, "opens": "22:00", "closes": "02:00"}]},
        {"hold_minutes": 0},
        {"colour": "red"},
    ],
    ids=str,
)
async def test_rules_of_another_shape_are_refused(
    make: Factory, admin: httpx2.AsyncClient, wrong: dict[str, Any]
) -> None:
    resource_id = await make.resource()

    assert_problem(await admin.put(path_of(resource_id), json=RULES | wrong), 422, "validation")

    assert_problem(await admin.get(path_of(resource_id)), 404, "schedule_not_found")


@pytest.mark.parametrize(
    "body", [{}, {"closed": False}, {"closed": True, "hours": []}, {"hours": []}, {"closed": None}]
)
async def test_an_exception_is_closed_or_has_hours(make: Factory, admin: httpx2.AsyncClient, body: Any) -> None:
    resource_id = await make.resource()
    await put(admin, resource_id)

    assert_problem(await admin.put(path_of(resource_id, f"exceptions/{TOMORROW}"), json=body), 422, "validation")


@pytest.mark.parametrize("day", ["2030-02-30", "tomorrow", "1999-12-31", "2200-01-01"])
async def test_a_date_that_is_none_or_too_far_is_refused(make: Factory, admin: httpx2.AsyncClient, day: str) -> None:
    resource_id = await make.resource()

    assert_problem(await admin.put(path_of(resource_id, f"exceptions/{day}"), json=CLOSED), 422, "validation")


async def test_what_is_not_there_is_not_found(make: Factory, admin: httpx2.AsyncClient) -> None:
    nobody, resource_id = uuid4(), await make.resource()

    assert_problem(await admin.put(path_of(nobody), json=RULES), 404, "resource_not_found")
    assert_problem(await admin.get(path_of(nobody)), 404, "resource_not_found")
    assert_problem(await admin.put(path_of(nobody, f"exceptions/{TOMORROW}"), json=CLOSED), 404, "resource_not_found")
    assert_problem(
        await admin.put(path_of(resource_id, f"exceptions/{TOMORROW}"), json=CLOSED), 404, "schedule_not_found"
    )
    assert_problem(await admin.delete(path_of(resource_id, f"exceptions/{TOMORROW}")), 404, "schedule_not_found")


async def test_another_time_zone_moves_the_slots_and_keeps_the_booking(
    make: Factory, admin: httpx2.AsyncClient, frontend: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    resource_id = await make.resource(timezone="UTC")
    await put(admin, resource_id)
    day = {"resource_id": str(resource_id), "from": f"{TOMORROW}T10:00:00Z", "to": f"{TOMORROW}T11:00:00Z"}
    (slot,) = (await public.get("/v1/available-slots", params=day)).json()["slots"]
    booking = (await book(frontend, slot["id"])).json()

    answer = await admin.patch(
        f"/v1/resources/{resource_id}", json={"timezone": "Asia/Tokyo"}, headers={"If-Match": '"1"'}
    )

    assert answer.status_code == 200
    kept = (await admin.get(f"/v1/bookings/{booking['id']}")).json()
    assert (kept["slot_id"], kept["status"]) == (slot["id"], "confirmed")
    open_now = (await public.get("/v1/available-slots", params={"resource_id": str(resource_id)})).json()["slots"]
    assert {found["starts_at"][11:] for found in open_now} == {f"{hour:02}:00:00+09:00" for hour in (9, 10, 11)}
