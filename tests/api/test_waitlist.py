"""/v1/waitlist: stand in line for a slot, take the place that comes free, or leave it to the next."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
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
from tests.api.calls import assert_problem, book, cancel
from tests.conftest import client_of
from tests.contracts.test_responses import assert_declared
from tests.factories import Factory, make_api_key
from tests.unit.test_tokens import SECRET, signed

Customers = dict[str, httpx2.AsyncClient]

ONE = "/v1/waitlist/{entry_id}"
CLOCK_SLACK = timedelta(minutes=1)


async def join(
    client: httpx2.AsyncClient, slot_id: UUID, ref: str | None = "ann", /, **overrides: Any
) -> httpx2.Response:
    """POST /v1/waitlist for that customer, or for the token's own."""
    customer = {"customer": {"ref": ref}} if ref else {}
    return await client.post("/v1/waitlist", json={"slot_id": str(slot_id)} | customer | overrides)


async def full(make: Factory, **limits: Any) -> tuple[UUID, UUID]:
    """A slot without a place left, and the booking that has its last one."""
    slot_id = await make.slot(**limits)
    return slot_id, await make.booking(slot_id, p_customer='{"ref": "owner"}')


async def entry_of(client: httpx2.AsyncClient, joined: httpx2.Response) -> dict[str, Any]:
    """The place in line as it is by now."""
    answer: dict[str, Any] = (await client.get(joined.headers["location"])).json()
    return answer


@pytest.fixture
async def customers(settings: Settings) -> AsyncIterator[Customers]:
    """ann and ben, each with a token of their own."""
    app = create_app(settings.model_copy(update={"jwt_secret": SecretStr(SECRET)}))
    async with app.router.lifespan_context(app), AsyncExitStack() as stack:
        yield {ref: await stack.enter_async_context(client_of(app, signed(SECRET, sub=ref))) for ref in ("ann", "ben")}


async def test_a_place_in_line_is_made_and_found_at_its_location(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id, _ = await full(make)

    answer = await join(frontend, slot_id, units=2, payment_method="pay_now")

    entry = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/waitlist/{entry['id']}")
    assert answer.headers["cache-control"] == "no-store"
    assert (entry["status"], entry["ahead"], entry["customer_ref"]) == ("waiting", 0, "ann")
    assert (entry["units"], entry["payment_method"], entry["slot_id"]) == (2, "pay_now", str(slot_id))
    assert_declared(answer, "/v1/waitlist")
    read = await frontend.get(answer.headers["location"])
    assert (read.status_code, read.json()) == (200, entry)
    assert_declared(read, ONE)


async def test_joining_again_is_the_same_place_in_line(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id, _ = await full(make)
    first = await join(frontend, slot_id)
    await join(frontend, slot_id, "ben")

    again = await join(frontend, slot_id)

    assert (again.status_code, again.headers["location"]) == (201, first.headers["location"])
    assert again.content == first.content


async def test_where_there_is_room_the_answer_is_an_offer(frontend: httpx2.AsyncClient, make: Factory) -> None:
    answer = await join(frontend, await make.slot())

    offer = answer.json()
    assert (answer.status_code, offer["status"], offer["ahead"]) == (201, "offered", None)
    assert_declared(answer, "/v1/waitlist")
    booking = (await frontend.get(f"/v1/bookings/{offer['booking_id']}")).json()
    assert (booking["status"], booking["expires_at"]) == ("pending", offer["expires_at"])
    lasts = datetime.fromisoformat(offer["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=60) - CLOCK_SLACK < lasts <= timedelta(minutes=60)


async def test_cancelling_offers_the_place_to_the_first_in_line_and_not_to_a_newcomer(
    frontend: httpx2.AsyncClient, make: Factory
) -> None:
    slot_id, booking_id = await full(make)
    first, second = await join(frontend, slot_id), await join(frontend, slot_id, "ben")

    await cancel(frontend, booking_id)

    assert_problem(await book(frontend, slot_id, customer={"ref": "newcomer"}), 409, "slot_full")
    assert (await entry_of(frontend, first))["status"] == "offered"
    waits = await entry_of(frontend, second)
    assert (waits["status"], waits["ahead"]) == ("waiting", 0)


async def test_an_offer_is_accepted(frontend: httpx2.AsyncClient, make: Factory) -> None:
    offer = await join(frontend, await make.slot())

    accepted = await frontend.post(f"{offer.headers['location']}/accept")

    booking = accepted.json()
    assert (accepted.status_code, accepted.headers["etag"]) == (200, '"2"')
    assert (booking["id"], booking["status"]) == (offer.json()["booking_id"], "confirmed")
    assert_declared(accepted, ONE + "/accept")
    entry = await entry_of(frontend, offer)
    assert (entry["status"], entry["expires_at"]) == ("accepted", None)


async def test_accepting_and_leaving_may_be_repeated(frontend: httpx2.AsyncClient, make: Factory) -> None:
    accepted, left = await join(frontend, await make.slot()), await join(frontend, await make.slot())

    for step, joined in (("accept", accepted), ("leave", left)):
        first, again = [await frontend.post(f"{joined.headers['location']}/{step}") for _ in range(2)]
        assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)


async def test_an_offer_to_be_paid_now_is_accepted_by_paying(frontend: httpx2.AsyncClient, make: Factory) -> None:
    offer = await join(frontend, await make.slot(), payment_method="pay_now")
    problem = assert_problem(await frontend.post(f"{offer.headers['location']}/accept"), 409, "invalid_transition")
    assert (problem["payment_method"], problem["from"], problem["to"]) == ("pay_now", "offered", "accepted")

    paid = await frontend.post(
        f"/v1/bookings/{offer.json()['booking_id']}/payment",
        json={"payment_status": "paid"},
        headers={"If-Match": '"1"'},
    )

    assert paid.json()["status"] == "confirmed"
    assert (await entry_of(frontend, offer))["status"] == "accepted"


async def test_a_failed_payment_of_an_offer_to_be_paid_on_arrival_is_refused(
    frontend: httpx2.AsyncClient, make: Factory
) -> None:
    offer = await join(frontend, await make.slot())

    answer = await frontend.post(
        f"/v1/bookings/{offer.json()['booking_id']}/payment",
        json={"payment_status": "failed"},
        headers={"If-Match": '"1"'},
    )

    assert_problem(answer, 409, "invalid_transition")


async def test_an_offer_whose_time_is_over_cannot_be_accepted(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    offer = await join(frontend, await make.slot())
    await conn.execute("UPDATE bookings SET expires_at = now()")

    answer = await frontend.post(f"{offer.headers['location']}/accept")

    problem = assert_problem(answer, 409, "hold_expired")
    assert problem["booking_id"] == offer.json()["booking_id"]
    assert_declared(answer, ONE + "/accept", extra=True)


async def test_a_run_of_jobs_ends_offers_and_goes_down_the_line(
    frontend: httpx2.AsyncClient, cron: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot()
    first, second = await join(frontend, slot_id), await join(frontend, slot_id, "ben")
    # the job follows the booking
    await conn.execute("UPDATE bookings SET expires_at = now()")

    assert (await cron.post("/cron/process-jobs")).status_code == 200

    assert (await entry_of(frontend, first))["status"] == "expired"
    assert (await entry_of(frontend, second))["status"] == "offered"


async def test_a_run_of_jobs_closes_the_line_of_a_slot_that_takes_nobody_any_more(
    frontend: httpx2.AsyncClient, cron: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id, _ = await full(make)
    waits = await join(frontend, slot_id)
    await conn.execute("UPDATE slots SET is_legacy = true")

    assert (await cron.post("/cron/process-jobs")).status_code == 200

    assert (await entry_of(frontend, waits))["status"] == "closed"
    problem = assert_problem(await frontend.post(f"{waits.headers['location']}/leave"), 409, "invalid_transition")
    assert (problem["from"], problem["to"]) == ("closed", "cancelled")


async def test_leaving_gives_the_offer_to_the_next(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id = await make.slot()
    first, second = await join(frontend, slot_id), await join(frontend, slot_id, "ben")

    left = await frontend.post(f"{first.headers['location']}/leave")

    assert (left.status_code, left.json()["status"]) == (200, "cancelled")
    assert_declared(left, ONE + "/leave")
    assert (await entry_of(frontend, second))["status"] == "offered"


async def test_a_list_is_filtered_and_goes_on_with_its_cursor(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id, _ = await full(make)
    for ref in ("ann", "ben", "cleo"):
        await join(frontend, slot_id, ref)
    await join(frontend, await make.slot(), "ann")

    page = await frontend.get("/v1/waitlist", params={"slot_id": str(slot_id), "limit": 2})
    rest = await frontend.get(
        "/v1/waitlist", params={"slot_id": str(slot_id), "limit": 2, "cursor": page.json()["next_cursor"]}
    )
    offers = await frontend.get("/v1/waitlist", params={"customer_ref": "ann", "status": "offered"})

    assert_declared(page, "/v1/waitlist")
    assert [item["customer_ref"] for item in page.json()["items"]] == ["ann", "ben"]
    assert [item["customer_ref"] for item in rest.json()["items"]] == ["cleo"]
    assert rest.json()["next_cursor"] is None
    assert [item["status"] for item in offers.json()["items"]] == ["offered"]


async def test_a_slot_that_takes_no_newcomers_has_no_line(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    begun, closed = await make.slot(starts_at=datetime.now(UTC) - timedelta(seconds=1)), await make.slot()
    await conn.execute("UPDATE slots SET is_legacy = true WHERE id = $1", closed)

    assert_problem(await join(frontend, begun), 409, "slot_in_past")
    assert_problem(await join(frontend, closed), 409, "slot_closed")
    answer = await join(frontend, uuid4())
    assert_problem(answer, 404, "slot_not_found")
    assert_declared(answer, "/v1/waitlist", extra=True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slot_id": "x"}, "body.slot_id"),
        ({"units": 0}, "body.units"),
        ({"units": 10_001}, "body.units"),
        ({"units": "1"}, "body.units"),
        ({"payment_method": "cash"}, "body.payment_method"),
        ({"customer": {}}, "body.customer"),
        ({"customer": None}, "body.customer"),
        ({"place_in_line": 1}, "body.place_in_line"),
    ],
)
async def test_a_request_of_another_form_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, change: dict[str, Any], field: str
) -> None:
    answer = await join(frontend, await make.slot(), **change)

    assert assert_problem(answer, 422, "validation")["errors"][0]["field"] == field
    assert await conn.fetchval("SELECT count(*) FROM waitlist_entries") == 0


@pytest.mark.parametrize(
    "params", [{"status": "gone"}, {"limit": 0}, {"limit": 201}, {"slot_id": "x"}, {"cursor": "zz"}], ids=str
)
async def test_a_filter_of_another_form_is_refused(frontend: httpx2.AsyncClient, params: dict[str, Any]) -> None:
    assert_problem(await frontend.get("/v1/waitlist", params=params), 422, "validation")


CALLS = [("GET", ""), ("POST", ""), ("GET", "/{id}"), ("POST", "/{id}/accept"), ("POST", "/{id}/leave")]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_strangers_and_other_keys_are_refused(
    public: httpx2.AsyncClient, app: FastAPI, conn: asyncpg.Connection, method: str, path: str
) -> None:
    url = "/v1/waitlist" + path.format(id=uuid4())
    assert_problem(await public.request(method, url), 401, "unauthorized")
    async with client_of(app, await make_api_key(conn, "cron")) as cron_key:
        assert_problem(await cron_key.request(method, url), 403, "forbidden")


@pytest.mark.parametrize(("method", "step"), [("GET", ""), ("POST", "/accept"), ("POST", "/leave")])
async def test_an_unknown_place_in_line_is_not_found(frontend: httpx2.AsyncClient, method: str, step: str) -> None:
    answer = await frontend.request(method, f"/v1/waitlist/{uuid4()}{step}")

    assert_problem(answer, 404, "waitlist_entry_not_found")
    assert_declared(answer, ONE + step, extra=True)


async def test_customers_stand_in_line_for_themselves_alone(customers: Customers, make: Factory) -> None:
    slot_id, _ = await full(make)

    assert (await join(customers["ann"], slot_id, None)).json()["customer_ref"] == "ann"
    assert (await join(customers["ben"], slot_id, "ben")).json()["customer_ref"] == "ben"
    assert_problem(await join(customers["ann"], slot_id, "ben"), 403, "forbidden")


async def test_customers_take_and_leave_what_they_are_offered(customers: Customers, make: Factory) -> None:
    ann = customers["ann"]
    taken, left = [await join(ann, await make.slot(), None) for _ in range(2)]

    assert (await ann.post(f"{taken.headers['location']}/accept")).json()["status"] == "confirmed"
    assert (await ann.post(f"{left.headers['location']}/leave")).json()["status"] == "cancelled"


async def test_customers_see_their_own_places_in_line_whatever_they_ask_for(
    customers: Customers, make: Factory
) -> None:
    slot_id, _ = await full(make)
    for ref in ("ann", "ben"):
        await join(customers[ref], slot_id, None)

    for params in ({}, {"customer_ref": "ann"}, {"slot_id": str(slot_id)}):
        listed = await customers["ben"].get("/v1/waitlist", params=params)
        assert [item["customer_ref"] for item in listed.json()["items"]] == ["ben"]


async def test_what_is_another_customers_does_not_exist_for_them(
    customers: Customers, frontend: httpx2.AsyncClient, make: Factory
) -> None:
    anns = await join(customers["ann"], await make.slot(), None)
    url = anns.headers["location"]

    for method, step in (("GET", ""), ("POST", "/accept"), ("POST", "/leave")):
        assert_problem(await customers["ben"].request(method, url + step), 404, "waitlist_entry_not_found")

    assert await entry_of(frontend, anns) == anns.json()
