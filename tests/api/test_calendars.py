"""The .ics feeds over HTTP: who may read which, and what a calendar makes of them."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from icalendar import Calendar
from pydantic import SecretStr

from app.main import create_app
from app.settings import Settings
from tests.api.calls import assert_problem, book, cancel
from tests.conftest import client_of
from tests.factories import HOUR, TOMORROW, Factory
from tests.sql.support import NOBODY
from tests.unit.test_calendar_feed import names_of, unfolded
from tests.unit.test_tokens import SECRET, signed

INJECTION = "Ann\r\nATTENDEE:mailto:eve@example.com\r\nEND:VEVENT\nBEGIN:VALARM;x,y\\z"


def of_resource(resource_id: UUID) -> str:
    return f"/v1/resources/{resource_id}/calendar.ics"


def of_customer(ref: str) -> str:
    return f"/v1/customers/{quote(ref, safe='')}/calendar.ics"


async def events(client: httpx2.AsyncClient, path: str) -> list[Any]:
    """The events of the feed at that address, as a calendar reads them."""
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    read = Calendar.from_ical(answer.content)
    assert (read.errors, [event.errors for event in read.events]) == ([], [[]] * len(read.events))
    return list(read.events)


@pytest.fixture
async def signing(settings: Settings) -> AsyncIterator[FastAPI]:
    """An installation that takes customers' tokens."""
    app = create_app(settings.model_copy(update={"jwt_secret": SecretStr(SECRET)}))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def ann(signing: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """The customer ann, with a token of her own."""
    async with client_of(signing, signed(SECRET, sub="ann")) as client:
        yield client


async def test_a_booking_is_an_event_of_its_resource_and_of_its_customer(
    admin: httpx2.AsyncClient, make: Factory
) -> None:
    resource_id = await make.resource("Court 1", "Europe/Athens")
    slot_id = await make.slot(resource_id, starts_at=TOMORROW)
    booking = (await book(admin, slot_id, customer={"ref": "ann", "name": "Ann Archer"})).json()

    (of_hers,) = await events(admin, of_customer("ann"))
    (of_its,) = await events(admin, of_resource(resource_id))

    assert (of_its["summary"], of_hers["summary"]) == ("Ann Archer", "Court 1")
    for event in (of_its, of_hers):
        assert event["uid"] == f"{booking['id']}@holdfast"
        assert (event.start, event.end) == (TOMORROW, TOMORROW + HOUR)
        assert event.start.tzname() == "UTC"
        assert (event["status"], event["sequence"]) == ("CONFIRMED", 1)
        assert event["dtstamp"].dt == datetime.fromisoformat(booking["updated_at"]).replace(microsecond=0)
        assert booking["reference"] in event["description"]


async def test_a_feed_comes_as_a_calendar_that_is_not_kept(admin: httpx2.AsyncClient, make: Factory) -> None:
    for path in (of_resource(await make.resource()), of_customer("nobody")):
        answer = await admin.get(path)

        assert answer.headers["content-type"].partition(";")[0] == "text/calendar"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content.isascii()
        assert (unfolded(answer.text)[0], unfolded(answer.text)[-1]) == ("BEGIN:VCALENDAR", "END:VCALENDAR")
        assert await events(admin, path) == []


async def test_a_rescheduled_booking_is_the_same_event_at_another_time(
    admin: httpx2.AsyncClient, make: Factory
) -> None:
    resource_id = await make.resource()
    booking_id = await make.booking(await make.slot(resource_id, starts_at=TOMORROW))
    (before,) = await events(admin, of_resource(resource_id))

    moved = {"slot_id": str(await make.slot(resource_id, starts_at=TOMORROW + 3 * HOUR))}
    answer = await admin.post(f"/v1/bookings/{booking_id}/reschedule", json=moved, headers={"If-Match": '"1"'})
    assert answer.status_code == 200

    (after,) = await events(admin, of_resource(resource_id))
    assert after["uid"] == before["uid"]
    assert (before["sequence"], after["sequence"]) == (1, 2)
    assert (before.start, after.start) == (TOMORROW, TOMORROW + 3 * HOUR)


async def test_a_cancelled_booking_is_taken_back(admin: httpx2.AsyncClient, make: Factory) -> None:
    resource_id = await make.resource()
    booking_id = await make.booking(await make.slot(resource_id, starts_at=TOMORROW))
    await cancel(admin, booking_id)

    for path in (of_resource(resource_id), of_customer("ann")):
        (event,) = await events(admin, path)
        assert (event["uid"], event["status"], event["sequence"]) == (f"{booking_id}@holdfast", "CANCELLED", 2)


async def test_a_hold_is_tentative(admin: httpx2.AsyncClient, make: Factory) -> None:
    await make.booking(p_payment_method="pay_now")

    (event,) = await events(admin, of_customer("ann"))
    assert event["status"] == "TENTATIVE"


async def test_what_began_over_a_month_ago_is_not_shown(
    admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    for days in (30, 32):
        starts_at = TOMORROW - (days + 1) * 24 * HOUR
        await make.booking(await make.slot(starts_at=starts_at), p_now=starts_at - HOUR)

    (event,) = await events(admin, of_customer("ann"))
    assert event.start == TOMORROW - 31 * 24 * HOUR
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 2


async def test_names_that_a_client_made_up_stay_within_their_line(admin: httpx2.AsyncClient, make: Factory) -> None:
    plain = await make.resource()
    await make.booking(await make.slot(plain))
    made = await admin.post("/v1/resources", json={"name": INJECTION, "timezone": "UTC"})
    resource_id = UUID(made.json()["id"])
    customer = {"ref": "eve", "name": INJECTION}
    assert (await book(admin, await make.slot(resource_id), customer=customer)).status_code == 201

    expected = names_of((await admin.get(of_resource(plain))).text)
    for path in (of_resource(resource_id), of_customer("eve")):
        assert names_of((await admin.get(path)).text) == expected
        (event,) = await events(admin, path)
        assert event["summary"] == INJECTION.replace("\r\n", "\n")
        assert "attendee" not in event


async def test_a_long_name_is_folded_and_whole(admin: httpx2.AsyncClient, make: Factory) -> None:
    name = "Ünïcödé ✓ " * 20
    await book(admin, await make.slot(), customer={"ref": "ann", "name": name.strip()})
    resource_id = UUID((await admin.get("/v1/resources")).json()["items"][0]["id"])

    content = (await admin.get(of_resource(resource_id))).content

    assert max(map(len, content.split(b"\r\n"))) <= 75
    assert content.count(b"\r\n ") > 1
    (event,) = await events(admin, of_resource(resource_id))
    assert event["summary"] == name.strip()


@pytest.mark.parametrize("ref", ["ann@example.com", "auth0|7 %2F?#&é", "a\r\nb", "...", "x" * 200])
async def test_a_ref_of_any_kind_has_its_feed(admin: httpx2.AsyncClient, make: Factory, ref: str) -> None:
    assert (await book(admin, await make.slot(), customer={"ref": ref})).status_code == 201

    assert len(await events(admin, of_customer(ref))) == 1


async def test_a_customer_reads_their_own_feed_and_no_other_exists_for_them(
    ann: httpx2.AsyncClient, make: Factory
) -> None:
    await make.booking()
    await make.booking(p_customer='{"ref": "bob"}')
    await make.booking(p_customer='{"ref": "Ann"}')

    assert len(await events(ann, of_customer("ann"))) == 1
    for ref in ("bob", "Ann", "nobody", "%"):
        answer = await ann.get(of_customer(ref))
        assert_problem(answer, 404, "not_found")
        assert "VCALENDAR" not in answer.text


async def test_a_customer_without_bookings_has_an_empty_feed(signing: FastAPI) -> None:
    async with client_of(signing, signed(SECRET, sub="newcomer")) as client:
        assert await events(client, of_customer("newcomer")) == []


async def test_a_frontend_and_an_admin_read_any_customers_feed(
    frontend: httpx2.AsyncClient, admin: httpx2.AsyncClient, make: Factory
) -> None:
    for ref in ("ann", "bob"):
        await make.booking(p_customer=f'{{"ref": "{ref}"}}')

    for client in (frontend, admin):
        for ref in ("ann", "bob"):
            assert len(await events(client, of_customer(ref))) == 1


async def test_a_resources_feed_names_customers_and_is_for_admins_alone(
    admin: httpx2.AsyncClient,
    frontend: httpx2.AsyncClient,
    ann: httpx2.AsyncClient,
    cron: httpx2.AsyncClient,
    public: httpx2.AsyncClient,
    make: Factory,
) -> None:
    path = of_resource(await make.resource())

    assert (await admin.get(path)).status_code == 200
    assert_problem(await frontend.get(path), 403, "forbidden")
    for client in (ann, cron, public):
        assert_problem(await client.get(path), 401, "unauthorized")


async def test_a_customers_feed_asks_for_a_token(public: httpx2.AsyncClient, cron: httpx2.AsyncClient) -> None:
    for client in (public, cron):
        assert_problem(await client.get(of_customer("ann")), 401, "unauthorized")


async def test_the_feed_of_an_unknown_resource_is_a_problem(admin: httpx2.AsyncClient) -> None:
    problem = assert_problem(await admin.get(of_resource(NOBODY)), 404, "resource_not_found")

    assert problem["resource_id"] == str(NOBODY)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/resources/7/calendar.ics",
        f"/v1/customers/{'x' * 201}/calendar.ics",
        "/v1/customers/%20/calendar.ics",
        "/v1/customers/a%00b/calendar.ics",
    ],
)
async def test_an_address_that_names_nobody_is_refused(admin: httpx2.AsyncClient, path: str) -> None:
    assert_problem(await admin.get(path), 422, "validation")
