"""GET /v1/bookings: every filter alone and together, and pages that lose nothing."""

import json
from datetime import timedelta
from typing import Any

import asyncpg
import httpx2

from tests.factories import HOUR, TOMORROW, Factory


async def listed(client: httpx2.AsyncClient, **query: Any) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    while True:
        page = await client.get("/v1/bookings", params=query)
        assert page.status_code == 200, page.text
        ids += [item["id"] for item in page.json()["items"]]
        if page.json()["next_cursor"] is None:
            return ids
        query["cursor"] = page.json()["next_cursor"]


async def test_bookings_come_by_start_whatever_the_order_they_were_made_in(
    frontend: httpx2.AsyncClient, make: Factory
) -> None:
    late = await make.booking(await make.slot(starts_at=TOMORROW + 5 * HOUR))
    early = await make.booking(await make.slot(starts_at=TOMORROW))

    assert await listed(frontend) == [str(early), str(late)]


async def test_pages_hold_each_booking_once_also_where_many_start_at_one_instant(
    frontend: httpx2.AsyncClient, make: Factory
) -> None:
    slot_id = await make.slot(max_bookings=9)
    made = {str(await make.booking(slot_id)) for _ in range(7)}

    for limit in (1, 2, 3, 7, 200):
        seen = await listed(frontend, limit=limit)
        assert len(seen) == 7
        assert set(seen) == made


async def test_a_full_last_page_has_no_next(frontend: httpx2.AsyncClient, make: Factory) -> None:
    for _ in range(2):
        await make.booking()

    page = (await frontend.get("/v1/bookings", params={"limit": 2})).json()

    assert (len(page["items"]), page["next_cursor"]) == (2, None)


async def test_a_booking_made_between_two_pages_neither_repeats_nor_hides_another(
    frontend: httpx2.AsyncClient, make: Factory
) -> None:
    made = [str(await make.booking(await make.slot(starts_at=TOMORROW + n * HOUR))) for n in range(4)]

    first = (await frontend.get("/v1/bookings", params={"limit": 2})).json()
    await make.booking(await make.slot(starts_at=TOMORROW - HOUR / 2))
    second = (await frontend.get("/v1/bookings", params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [item["id"] for item in first["items"] + second["items"]] == made


async def test_each_filter_keeps_what_it_names(frontend: httpx2.AsyncClient, make: Factory) -> None:
    pitch, court = await make.resource("Pitch"), await make.resource("Court")
    ann = str(await make.booking(await make.slot(pitch, starts_at=TOMORROW)))
    bob = str(
        await make.booking(
            await make.slot(court, starts_at=TOMORROW + HOUR),
            p_customer=json.dumps({"ref": "bob"}),
            p_payment_method="pay_now",
        )
    )

    assert await listed(frontend, resource_id=str(pitch)) == [ann]
    assert await listed(frontend, status="pending") == [bob]
    assert await listed(frontend, customer_ref="bob") == [bob]
    assert await listed(frontend, customer_ref="nobody") == []
    assert await listed(frontend, customer_ref="bob", resource_id=str(pitch)) == []
    assert await listed(frontend, customer_ref="bob", resource_id=str(court), status="pending") == [bob]


async def test_from_is_part_of_the_range_and_to_is_not(frontend: httpx2.AsyncClient, make: Factory) -> None:
    made = [str(await make.booking(await make.slot(starts_at=TOMORROW + n * HOUR))) for n in range(3)]

    start, end = TOMORROW.isoformat(), (TOMORROW + 2 * HOUR).isoformat()

    assert await listed(frontend, **{"from": start, "to": end}) == made[:2]
    assert await listed(frontend, **{"from": (TOMORROW + timedelta(microseconds=1)).isoformat()}) == made[1:]


async def test_updated_since_finds_what_changed_after_it_was_made(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    changed, _ = [await make.booking() for _ in range(2)]
    since = await conn.fetchval("SELECT clock_timestamp()")
    await frontend.post(f"/v1/bookings/{changed}/cancel", headers={"If-Match": '"1"'})

    assert await listed(frontend, updated_since=since.isoformat()) == [str(changed)]


async def test_items_of_a_list_read_like_the_booking_itself(frontend: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = await make.booking()

    (item,) = (await frontend.get("/v1/bookings")).json()["items"]

    assert item == (await frontend.get(f"/v1/bookings/{booking_id}")).json()
