"""Two server processes and hundreds of real sockets at one slot: never one booking too many."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import httpx2
import pytest

from tests.api.calls import assert_problem, book
from tests.concurrency.rivals import assert_counters_equal_a_recount, begin, held_slots, until_waiting
from tests.databases import copy_of
from tests.factories import Factory, make_api_key
from tests.live import live_server


class Arena(NamedTuple):
    """A server of two processes, a caller, and two connections around it."""

    client: httpx2.AsyncClient
    make: Factory
    holder: asyncpg.Connection
    observer: asyncpg.Connection

    async def race(
        self, slot_ids: list[UUID], attempts: list[Coroutine[Any, Any, httpx2.Response]]
    ) -> list[httpx2.Response]:
        """Start them all while nobody gets at the slots, and let go when at least eight sessions wait there."""
        async with held_slots(self.holder, *slot_ids):
            tasks = begin(attempts)
            await until_waiting(self.observer, 8)
        return list(await asyncio.gather(*tasks))


@pytest.fixture(scope="module")
async def arena(template: str) -> AsyncIterator[Arena]:
    async with copy_of(template, "races") as (dsn, observer):
        holder = await asyncpg.connect(dsn, server_settings={"search_path": "holdfast"})
        key = await make_api_key(observer, "frontend")
        async with live_server(dsn, workers=2) as server, server.client(key) as client:
            yield Arena(client, Factory(observer), holder, observer)
        await holder.close()


def tally(answers: list[httpx2.Response]) -> dict[str, int]:
    return dict(Counter("201" if a.status_code == 201 else f"{a.status_code} {a.json()['code']}" for a in answers))


@pytest.mark.parametrize("limits", [{"max_bookings": 7}, {"max_bookings": 1000, "max_units": 7}], ids=str)
async def test_two_hundred_callers_share_seven_places_and_no_more(arena: Arena, limits: dict[str, int]) -> None:
    slot_id = await arena.make.slot(**limits)  # type: ignore[arg-type]

    answers = await arena.race(
        [slot_id], [book(arena.client, slot_id, customer={"ref": f"caller-{n}"}) for n in range(200)]
    )

    assert tally(answers) == {"201": 7, "409 slot_full": 193}
    held = await arena.observer.fetch("SELECT booked_bookings, booked_units FROM slots WHERE id = $1", slot_id)
    assert [tuple(row) for row in held] == [(7, 7)]
    await assert_counters_equal_a_recount(arena.observer)


async def test_callers_who_want_several_units_never_take_more_than_there_are(arena: Arena) -> None:
    slot_id = await arena.make.slot(max_bookings=1000, max_units=20)

    answers = await arena.race([slot_id], [book(arena.client, slot_id, units=1 + n % 5) for n in range(100)])

    taken = sum(a.json()["units"] for a in answers if a.status_code == 201)
    assert set(tally(answers)) <= {"201", "409 slot_full", "409 insufficient_units"}
    # somebody always wanted just one, so nothing can be left over
    assert taken == 20
    await assert_counters_equal_a_recount(arena.observer)


async def test_fifty_twins_of_one_request_make_one_booking_and_get_one_answer(arena: Arena) -> None:
    slot_id = await arena.make.slot(max_bookings=1000)

    answers = await arena.race([slot_id], [book(arena.client, slot_id, "twins") for _ in range(50)])

    assert tally(answers) == {"201": 50}
    assert len({(a.content, a.headers["etag"], a.headers["location"]) for a in answers}) == 1
    assert sum("idempotent-replayed" in a.headers for a in answers) == 49
    assert await arena.observer.fetchval("SELECT count(*) FROM bookings WHERE slot_id = $1", slot_id) == 1


async def test_one_key_for_different_requests_makes_one_booking_also_when_they_share_no_slot(arena: Arena) -> None:
    slot_ids = [await arena.make.slot() for _ in range(10)]

    answers = await arena.race(slot_ids, [book(arena.client, slot_id, "one-key") for slot_id in slot_ids])

    assert tally(answers) == {"201": 1, "422 idempotency_conflict": 9}
    booked = await arena.observer.fetchval("SELECT count(*) FROM bookings WHERE slot_id = ANY ($1)", slot_ids)
    assert booked == 1
    await assert_counters_equal_a_recount(arena.observer)


async def test_one_key_with_another_body_is_refused_whichever_comes_first(arena: Arena) -> None:
    slot_id = await arena.make.slot(max_bookings=1000)

    answers = await arena.race([slot_id], [book(arena.client, slot_id, "bodies", units=n) for n in range(1, 21)])

    assert tally(answers) == {"201": 1, "422 idempotency_conflict": 19}
    loser = next(a for a in answers if a.status_code == 422)
    assert "first_used_at" in assert_problem(loser, 422, "idempotency_conflict")


async def test_callers_who_cancel_one_version_at_once_cancel_it_once(arena: Arena) -> None:
    slot_id = await arena.make.slot(max_bookings=1)
    booking_id = await arena.make.booking(slot_id)

    cancels = [arena.client.post(f"/v1/bookings/{booking_id}/cancel", headers={"If-Match": '"1"'}) for _ in range(20)]
    answers = await arena.race([slot_id], cancels)

    assert Counter(a.status_code for a in answers) == {200: 1, 412: 19}
    await assert_counters_equal_a_recount(arena.observer)
