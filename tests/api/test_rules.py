"""The rules of a resource over HTTP: what a refusal says, and that an admin with a reason passes over it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.main import create_app
from app.settings import Settings
from tests.api.calls import assert_problem, book, cancel
from tests.conftest import client_of
from tests.factories import HOUR, TOMORROW, Factory
from tests.sql.support import occupancy, status_of
from tests.sql.test_slot_rules import make_rules
from tests.unit.test_tokens import SECRET, signed

DAY = timedelta(days=1)
START = TOMORROW + DAY
WEEK_MINUTES = 7 * 24 * 60
REASON = "a regular guest"

# a rule that forbids to book START, and the code of its refusal
BINDING: dict[str, tuple[dict[str, Any], str]] = {
    "notice": ({"min_notice_minutes": WEEK_MINUTES}, "too_late"),
    "window": ({"booking_window_days": 0}, "not_open_yet"),
    "limit": ({"max_bookings_per_customer": 1}, "limit_reached"),
}
binding = pytest.mark.parametrize(("rules", "code"), BINDING.values(), ids=BINDING)


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application with the secret that signs customers' tokens."""
    created = create_app(settings.model_copy(update={"jwt_secret": SecretStr(SECRET)}))
    async with created.router.lifespan_context(created):
        yield created


@pytest.fixture
async def customer(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app, signed(SECRET, sub="ann")) as client:
        yield client


async def slot_under(make: Factory, conn: asyncpg.Connection, starts_at: datetime = START, **rules: Any) -> UUID:
    """A slot of a resource with these rules, of which ann has a live booking at another time."""
    resource_id = await make.resource()
    await make.booking(await make.slot(resource_id, starts_at=starts_at + DAY))
    await make_rules(conn, resource_id, **rules)
    return await make.slot(resource_id, starts_at=starts_at)


async def reschedule(client: httpx2.AsyncClient, booking_id: UUID, slot_id: UUID, **body: Any) -> httpx2.Response:
    return await client.post(
        f"/v1/bookings/{booking_id}/reschedule", json={"slot_id": str(slot_id)} | body, headers={"If-Match": '"1"'}
    )


async def last_reason(conn: asyncpg.Connection, booking_id: object) -> tuple[str, str]:
    (row,) = await conn.fetch(
        "SELECT performed_by, reason FROM audit_log WHERE subject_id = $1 ORDER BY id DESC LIMIT 1", str(booking_id)
    )
    return tuple(row)


async def test_inside_the_notice_the_answer_says_until_when(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await slot_under(make, conn, min_notice_minutes=WEEK_MINUTES)

    problem = assert_problem(await book(frontend, slot_id), 409, "too_late")

    assert (problem["rule"], problem["slot_id"], problem["retryable"]) == ("min_notice_minutes", str(slot_id), False)
    assert datetime.fromisoformat(problem["starts_at"]) == START
    assert datetime.fromisoformat(problem["until"]) == START - 7 * DAY


async def test_before_the_window_the_answer_says_when_it_opens(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await slot_under(make, conn, booking_window_days=0)

    problem = assert_problem(await book(frontend, slot_id), 409, "not_open_yet")

    assert datetime.fromisoformat(problem["opens_at"]) == START.replace(hour=0)


async def test_at_the_limit_the_answer_says_what_it_is(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await slot_under(make, conn, max_bookings_per_customer=1)

    problem = assert_problem(await book(frontend, slot_id), 409, "limit_reached")

    assert (problem["rule"], problem["limit"], problem["live_bookings"]) == ("max_bookings_per_customer", 1, 1)
    assert (await book(frontend, slot_id, customer={"ref": "bob"})).status_code == 201


@binding
async def test_an_admin_without_a_reason_is_bound_and_with_one_is_not(
    admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, rules: dict[str, Any], code: str
) -> None:
    slot_id = await slot_under(make, conn, **rules)

    for none in ({}, {"reason": None}, {"reason": ""}, {"reason": "  "}):
        assert_problem(await book(admin, slot_id, **none), 409, code)
    answer = await book(admin, slot_id, reason=REASON)

    assert answer.status_code == 201
    assert await last_reason(conn, answer.json()["id"]) == ("admin", REASON)


@binding
async def test_the_reason_of_a_frontend_or_a_customer_passes_over_nothing(
    frontend: httpx2.AsyncClient,
    customer: httpx2.AsyncClient,
    make: Factory,
    conn: asyncpg.Connection,
    rules: dict[str, Any],
    code: str,
) -> None:
    slot_id = await slot_under(make, conn, **rules)

    for client in (frontend, customer):
        assert_problem(await book(client, slot_id, reason=REASON), 409, code)

    assert await occupancy(conn, slot_id) == (0, 0)


async def test_no_reason_passes_over_a_slot_that_is_full_closed_or_past(
    admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    full, closed = await make.slot(max_bookings=1), await make.slot()
    begun = await make.slot(starts_at=datetime.now(UTC) - HOUR / 2)
    small = await make.slot(max_bookings=9, max_units=2)
    await make.booking(full)
    await conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", closed)

    assert_problem(await book(admin, full, reason=REASON), 409, "slot_full")
    assert_problem(await book(admin, closed, reason=REASON), 409, "slot_closed")
    assert_problem(await book(admin, begun, reason=REASON), 409, "slot_in_past")
    assert_problem(await book(admin, small, units=3, reason=REASON), 409, "insufficient_units")


async def booked_under(make: Factory, conn: asyncpg.Connection, **booking: Any) -> UUID:
    """A booking of ann at START whose cut-off is over."""
    resource_id = await make.resource()
    booking_id = await make.booking(await make.slot(resource_id, starts_at=START), **booking)
    await make_rules(conn, resource_id, cancel_cutoff_minutes=WEEK_MINUTES)
    return booking_id


async def test_after_the_cut_off_the_answer_says_until_when_it_was(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id, elsewhere = await booked_under(make, conn), await make.slot()

    for answer in (await cancel(frontend, booking_id), await reschedule(frontend, booking_id, elsewhere)):
        problem = assert_problem(answer, 409, "too_late")
        assert (problem["rule"], problem["booking_id"]) == ("cancel_cutoff_minutes", str(booking_id))
        assert datetime.fromisoformat(problem["starts_at"]) == START
        assert datetime.fromisoformat(problem["until"]) == START - 7 * DAY

    assert await status_of(conn, booking_id) == "confirmed"


async def with_reason(client: httpx2.AsyncClient, step: str, booking_id: UUID, elsewhere: UUID) -> httpx2.Response:
    if step == "reschedule":
        return await reschedule(client, booking_id, elsewhere, reason=REASON)
    return await client.post(f"/v1/bookings/{booking_id}/cancel", json={"reason": REASON}, headers={"If-Match": '"1"'})


@pytest.mark.parametrize("step", ["cancel", "reschedule"])
async def test_after_the_cut_off_only_an_admins_reason_counts(
    admin: httpx2.AsyncClient,
    frontend: httpx2.AsyncClient,
    customer: httpx2.AsyncClient,
    make: Factory,
    conn: asyncpg.Connection,
    step: str,
) -> None:
    booking_id, elsewhere = await booked_under(make, conn), await make.slot()

    assert_problem(await cancel(admin, booking_id), 409, "too_late")
    for client in (frontend, customer):
        assert_problem(await with_reason(client, step, booking_id, elsewhere), 409, "too_late")
    answer = await with_reason(admin, step, booking_id, elsewhere)

    assert answer.status_code == 200
    assert await last_reason(conn, booking_id) == ("admin", REASON)


async def test_a_hold_may_be_given_back_after_the_cut_off(
    customer: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = await booked_under(make, conn, p_payment_method="pay_now")

    assert (await cancel(customer, booking_id)).json()["status"] == "cancelled"


async def test_a_booking_that_has_begun_is_cancelled_by_an_admin_with_a_reason_alone(
    admin: httpx2.AsyncClient, frontend: httpx2.AsyncClient, make: Factory
) -> None:
    begun = datetime.now(UTC) - HOUR / 2
    booking_id = await make.booking(await make.slot(starts_at=begun), p_now=begun - DAY)

    assert_problem(await cancel(frontend, booking_id), 409, "too_late")
    assert_problem(await cancel(admin, booking_id), 409, "too_late")
    assert (await with_reason(admin, "cancel", booking_id, booking_id)).status_code == 200


@binding
async def test_a_move_is_bound_by_the_rules_where_it_goes(
    admin: httpx2.AsyncClient,
    frontend: httpx2.AsyncClient,
    make: Factory,
    conn: asyncpg.Connection,
    rules: dict[str, Any],
    code: str,
) -> None:
    slot_id, booking_id = await slot_under(make, conn, **rules), await make.booking()

    assert_problem(await reschedule(admin, booking_id, slot_id), 409, code)
    assert_problem(await reschedule(frontend, booking_id, slot_id, reason=REASON), 409, code)
    assert (await reschedule(admin, booking_id, slot_id, reason=REASON)).json()["slot_id"] == str(slot_id)
    assert await last_reason(conn, booking_id) == ("admin", REASON)


async def test_what_is_listed_as_free_is_what_may_be_booked(
    frontend: httpx2.AsyncClient, public: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    codes = {"closed": "slot_closed", "notice": "too_late", "not_open": "not_open_yet", "full": "slot_full"}
    slots = [
        await slot_under(make, conn),
        *[await slot_under(make, conn, **rules) for rules, code in BINDING.values() if code != "limit_reached"],
        await make.slot(starts_at=START, max_bookings=1),
        await make.slot(starts_at=START),
    ]
    await make.booking(slots[-2])
    await conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", slots[-1])

    offers = (await public.get("/v1/slots", params={"ids": [str(slot_id) for slot_id in slots]})).json()["slots"]

    assert {offer["reason"] for offer in offers} == {None, *codes}
    for offer in offers:
        answer = await book(frontend, offer["id"])
        assert answer.status_code == (201 if offer["available"] else 409)
        assert answer.json().get("code") == codes.get(offer["reason"])


async def test_a_hold_lasts_as_long_as_the_rules_say(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await make_rules(conn, resource_id, hold_minutes=90)

    body = (await book(frontend, await make.slot(resource_id), payment_method="pay_now")).json()

    lasts = datetime.fromisoformat(body["expires_at"]) - datetime.fromisoformat(body["created_at"])
    assert lasts == timedelta(minutes=90)
