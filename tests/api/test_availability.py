"""GET /v1/available-slots of several resources and with an ETag, and GET /v1/slots by id."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from tests.api.calls import assert_problem, book, cancel
from tests.factories import HOUR, TOMORROW, Factory
from tests.sql.test_slot_rules import make_rules

# fixed, so that a second request asks for the same
RANGE = {"from": (TOMORROW - HOUR).isoformat(), "to": (TOMORROW + timedelta(days=7)).isoformat()}


async def ask(
    client: httpx2.AsyncClient, *resource_ids: UUID, known: str | None = None, **query: Any
) -> httpx2.Response:
    headers = {} if known is None else {b"if-none-match": known.encode("latin-1")}
    params = {"resource_id": [str(resource_id) for resource_id in resource_ids], **RANGE, **query}
    return await client.get("/v1/available-slots", params=params, headers=headers)


async def seen(client: httpx2.AsyncClient, *slot_ids: UUID, **query: Any) -> httpx2.Response:
    return await client.get("/v1/slots", params={"ids": [str(slot_id) for slot_id in slot_ids], **query})


async def test_an_unchanged_answer_is_a_304_without_a_body(public: httpx2.AsyncClient, make: Factory) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id)
    first = await ask(public, resource_id)

    second = await ask(public, resource_id, known=first.headers["etag"])

    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    assert (second.status_code, second.content) == (304, b"")
    assert {name: second.headers[name] for name in ("etag", "cache-control")} == {
        "etag": first.headers["etag"],
        "cache-control": "no-cache",
    }
    assert {"content-type", "content-length"}.isdisjoint(second.headers)


@pytest.mark.parametrize("form", ["{}", "W/{}", '"0", {}', '{}, "0"', 'W/"0",W/{}', '"3", "x" ,\t{}'])
async def test_each_way_to_name_the_kept_answer_is_understood(
    public: httpx2.AsyncClient, make: Factory, form: str
) -> None:
    resource_id = await make.resource()
    tag = (await ask(public, resource_id)).headers["etag"]

    assert (await ask(public, resource_id, known=form.format(tag))).status_code == 304


@pytest.mark.parametrize(
    "known", ["", '""', '"0"', "*", "garbage", '"', '"0', "W/", '"' + "f" * 17 + '"', ",,,", '"é"']
)
async def test_any_other_tag_is_answered_in_full(public: httpx2.AsyncClient, make: Factory, known: str) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id)

    answer = await ask(public, resource_id, known=known)

    assert answer.status_code == 200
    assert len(answer.json()["slots"]) == 1


async def test_a_booking_and_its_cancellation_outdate_what_was_kept(
    frontend: httpx2.AsyncClient, public: httpx2.AsyncClient, make: Factory
) -> None:
    resource_id = await make.resource()
    slot_id = await make.slot(resource_id, max_bookings=2)
    empty = (await ask(public, resource_id)).headers["etag"]

    booking = await book(frontend, slot_id)
    taken = await ask(public, resource_id, known=empty)
    await cancel(frontend, booking.json()["id"])
    free = await ask(public, resource_id, known=taken.headers["etag"])

    assert (taken.status_code, taken.json()["slots"][0]["remaining_bookings"]) == (200, 1)
    assert (free.status_code, free.json()["slots"][0]["remaining_bookings"]) == (200, 2)
    assert (await ask(public, resource_id, known=empty)).status_code == 304


async def test_a_tag_is_for_the_zone_and_the_units_it_was_asked_for(public: httpx2.AsyncClient, make: Factory) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id, max_units=2)
    tag = (await ask(public, resource_id)).headers["etag"]

    assert (await ask(public, resource_id, known=tag, tz="Asia/Tokyo")).status_code == 200
    assert (await ask(public, resource_id, known=tag, units=3)).status_code == 200


async def test_several_resources_are_one_list_by_start(public: httpx2.AsyncClient, make: Factory) -> None:
    pitch, court = [await make.resource(name, "Europe/Athens") for name in ("Pitch", "Court")]
    late, early = [
        await make.slot(resource_id, starts_at=TOMORROW + hours * HOUR)
        for resource_id, hours in ((pitch, 2), (court, 1))
    ]

    body = (await ask(public, pitch, court)).json()

    assert (body["resource_id"], body["timezone"]) == (None, "Europe/Athens")
    assert [(slot["id"], slot["resource_id"]) for slot in body["slots"]] == [
        (str(early), str(court)),
        (str(late), str(pitch)),
    ]


async def test_different_zones_are_answered_in_utc_unless_told(public: httpx2.AsyncClient, make: Factory) -> None:
    both = [await make.resource(timezone=zone) for zone in ("Europe/Athens", "Asia/Tokyo")]
    for resource_id in both:
        await make.slot(resource_id, starts_at=TOMORROW)

    mixed = (await ask(public, *both)).json()
    told = (await ask(public, *both, tz="Asia/Kathmandu")).json()

    assert (mixed["timezone"], told["timezone"]) == ("UTC", "Asia/Kathmandu")
    assert [slot["starts_at"][-6:] for slot in mixed["slots"] + told["slots"]] == ["+00:00"] * 2 + ["+05:45"] * 2


async def test_a_resource_given_twice_is_one_resource(public: httpx2.AsyncClient, make: Factory) -> None:
    resource_id = await make.resource()
    await make.slot(resource_id)

    once, twice = await ask(public, resource_id), await ask(public, resource_id, resource_id)

    assert twice.json() == once.json()
    assert twice.json()["resource_id"] == str(resource_id)


async def test_one_unknown_resource_among_others_is_named(public: httpx2.AsyncClient, make: Factory) -> None:
    nowhere = uuid4()

    answer = await ask(public, await make.resource(), nowhere)

    assert assert_problem(answer, 404, "resource_not_found")["resource_id"] == str(nowhere)


async def test_resources_may_come_in_one_parameter_with_commas(public: httpx2.AsyncClient, make: Factory) -> None:
    both = [await make.resource() for _ in range(2)]
    for resource_id in both:
        await make.slot(resource_id)

    joined = await public.get("/v1/available-slots", params={"resource_id": ",".join(map(str, both)), **RANGE})

    assert len(joined.json()["slots"]) == 2
    assert joined.json() == (await ask(public, *both)).json()


@pytest.mark.parametrize("count", [0, 51])
async def test_so_many_resources_are_refused(public: httpx2.AsyncClient, count: int) -> None:
    given = [str(uuid4()) for _ in range(count)]

    for form in (given, ",".join(given)):
        answer = await public.get("/v1/available-slots", params={"resource_id": form, **RANGE})
        assert_problem(answer, 422, "validation")


async def test_the_rules_of_a_resource_show_in_reason_and_opens_at(
    public: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await make_rules(conn, resource_id, booking_window_days=0)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    await make.slot(resource_id, starts_at=today + timedelta(days=3, hours=9))
    query = {"from": today.isoformat(), "to": (today + timedelta(days=9)).isoformat()}

    (closed,) = (await ask(public, resource_id, **query)).json()["slots"]
    await conn.execute("UPDATE schedules SET booking_window_days = 9")
    (opened,) = (await ask(public, resource_id, **query)).json()["slots"]
    await conn.execute("UPDATE schedules SET min_notice_minutes = 4 * 1440")
    (late,) = (await ask(public, resource_id, **query)).json()["slots"]

    assert (closed["available"], closed["reason"]) == (False, "not_open")
    assert datetime.fromisoformat(closed["opens_at"]) == today + timedelta(days=3)
    assert (opened["available"], opened["reason"]) == (True, None)
    assert datetime.fromisoformat(opened["opens_at"]) == today - timedelta(days=6)
    assert (late["available"], late["reason"]) == (False, "notice")


async def test_given_slots_come_by_start_with_legacy_ones_closed_and_unknown_ids_left_out(
    public: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    late, early, legacy = [await make.slot(starts_at=TOMORROW + n * HOUR) for n in (2, 1, 0)]
    await conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", legacy)

    answer = await seen(public, late, uuid4(), early, early, legacy)

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert [(slot["id"], slot["reason"]) for slot in answer.json()["slots"]] == [
        (str(legacy), "closed"),
        (str(early), None),
        (str(late), None),
    ]


async def test_given_slots_read_as_they_do_in_a_range(public: httpx2.AsyncClient, make: Factory) -> None:
    resource_id = await make.resource(timezone="Asia/Kathmandu")
    slot_id = await make.slot(resource_id, max_bookings=3, max_units=5)
    await make.booking(slot_id, p_units=3)

    by_id = (await seen(public, slot_id, units=3)).json()
    by_range = (await ask(public, resource_id, units=3)).json()

    assert by_id == {"timezone": "Asia/Kathmandu", "slots": by_range["slots"]}
    assert by_id["slots"][0]["reason"] == "full"


@pytest.mark.parametrize(
    "query", [{}, {"ids": ["x"]}, {"ids": [str(uuid4())], "tz": "Mars/Olympus"}, {"ids": [str(uuid4())], "units": 0}]
)
async def test_given_slots_without_good_ids_zone_and_units_are_refused(
    public: httpx2.AsyncClient, query: dict[str, Any]
) -> None:
    assert_problem(await public.get("/v1/slots", params=query), 422, "validation")


@pytest.mark.parametrize(("count", "status"), [(200, 200), (201, 422)])
async def test_two_hundred_ids_are_the_most(public: httpx2.AsyncClient, count: int, status: int) -> None:
    given = [str(uuid4()) for _ in range(count)]

    for form in (given, ",".join(given)):
        assert (await public.get("/v1/slots", params={"ids": form})).status_code == status


async def test_ids_may_come_in_one_parameter_with_commas(public: httpx2.AsyncClient, make: Factory) -> None:
    slots = [await make.slot() for _ in range(2)]

    answer = await public.get("/v1/slots", params={"ids": ",".join(map(str, slots))})

    assert [slot["id"] for slot in answer.json()["slots"]] == [str(slot_id) for slot_id in slots]
