"""Idempotency-Key: one intended booking, one booking, one answer."""

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from tests.api.calls import assert_problem, book, cancel
from tests.conftest import client_of
from tests.factories import Factory, make_api_key


async def count(conn: asyncpg.Connection) -> int:
    return int(await conn.fetchval("SELECT count(*) FROM bookings"))


async def test_a_repeated_booking_is_answered_again_and_made_once(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(max_bookings=5)

    first = await book(frontend, slot_id, "key-1")
    again = await book(frontend, slot_id, "key-1")

    assert again.status_code == first.status_code == 201
    assert again.content == first.content
    assert [first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]] == [None, "true"]
    assert (again.headers["etag"], again.headers["location"]) == (first.headers["etag"], first.headers["location"])
    assert await count(conn) == 1


async def test_the_answer_is_repeated_when_the_slot_is_full_by_now_and_the_booking_cancelled(
    frontend: httpx2.AsyncClient, make: Factory
) -> None:
    slot_id = await make.slot(max_bookings=1)
    first = await book(frontend, slot_id, "key-1")
    assert (await book(frontend, slot_id, "key-1")).content == first.content

    await cancel(frontend, first.json()["id"])

    assert (await book(frontend, slot_id, "key-1")).content == first.content


@pytest.mark.parametrize("other", [{"units": 2}, {"customer": {"ref": "bob"}}, {"metadata": {"a": 1}}])
async def test_the_same_key_for_another_request_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, other: dict[str, object]
) -> None:
    slot_id = await make.slot(max_bookings=5)
    await book(frontend, slot_id, "key-1")

    assert_problem(await book(frontend, slot_id, "key-1", **other), 422, "idempotency_conflict")
    assert_problem(await book(frontend, await make.slot(), "key-1"), 422, "idempotency_conflict")

    assert await count(conn) == 1


async def test_a_body_that_means_the_same_is_the_same_request(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id = await make.slot(max_bookings=5)
    first = await book(frontend, slot_id, "key-1")

    spelt_out = await book(
        frontend, str(slot_id).upper(), "key-1", units=1, payment_method="pay_on_arrival", metadata={}
    )

    assert spelt_out.content == first.content


async def test_a_quoted_key_is_the_same_as_the_bare_one(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id = await make.slot(max_bookings=5)

    bare = await book(frontend, slot_id, "key-1")
    quoted = await book(frontend, slot_id, '"key-1"')

    assert quoted.content == bare.content
    assert quoted.headers["idempotent-replayed"] == "true"


async def test_a_refusal_is_not_kept_so_the_key_may_succeed_later(frontend: httpx2.AsyncClient, make: Factory) -> None:
    slot_id = await make.slot(max_bookings=1)
    other = (await book(frontend, slot_id)).json()
    assert_problem(await book(frontend, slot_id, "key-1"), 409, "slot_full")

    await cancel(frontend, other["id"])
    later = await book(frontend, slot_id, "key-1")

    assert (later.status_code, later.headers.get("idempotent-replayed")) == (201, None)


async def test_two_callers_may_use_the_same_key(
    app: FastAPI, frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(max_bookings=5)
    mine = await book(frontend, slot_id, "key-1")

    async with client_of(app, await make_api_key(conn, "frontend")) as other:
        theirs = await book(other, slot_id, "key-1")

    assert theirs.json()["id"] != mine.json()["id"]


async def test_a_repeated_cancel_is_answered_again_though_the_version_moved_on(
    frontend: httpx2.AsyncClient, make: Factory
) -> None:
    booking_id = await make.booking()

    first = await cancel(frontend, booking_id, '"1"', **{"Idempotency-Key": "key-1"})
    again = await cancel(frontend, booking_id, '"1"', **{"Idempotency-Key": "key-1"})

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_cancel_key_names_one_booking(frontend: httpx2.AsyncClient, make: Factory) -> None:
    await cancel(frontend, await make.booking(), '"1"', **{"Idempotency-Key": "key-1"})

    other = await cancel(frontend, await make.booking(), '"1"', **{"Idempotency-Key": "key-1"})

    assert_problem(other, 422, "idempotency_conflict")


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"\xc3\xa9", b"a\tb"])
async def test_a_key_that_is_no_short_printable_text_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, key: bytes
) -> None:
    slot_id = await make.slot()
    answer = await frontend.post(
        "/v1/bookings",
        json={"slot_id": str(slot_id), "customer": {"ref": "ann"}},
        headers=[(b"idempotency-key", key)],
    )

    assert assert_problem(answer, 422, "validation")["errors"][0]["field"] == "header.idempotency-key"
    assert await count(conn) == 0


@pytest.mark.parametrize("key", ['"', '""'])
async def test_a_key_of_nothing_but_quotes_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, key: str
) -> None:
    assert_problem(await book(frontend, await make.slot(), key), 422, "validation")
    assert await count(conn) == 0


async def test_a_key_of_255_characters_is_taken(frontend: httpx2.AsyncClient, make: Factory) -> None:
    assert (await book(frontend, await make.slot(), "x" * 255)).status_code == 201
