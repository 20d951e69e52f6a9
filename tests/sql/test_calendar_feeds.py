"""create_calendar_feed, list_calendar_feeds, revoke_calendar_feed, read_calendar_feed.

A feed is the hash of a token, and shows one resource or one customer until it is revoked. calendar_feed_json is
its shape.
"""

import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.audit.support import faults
from tests.audit.tampering import undone
from tests.concurrency.rivals import begin, connections, outcomes, until_waiting
from tests.conftest import Connect
from tests.factories import ACTOR, HOUR, TOMORROW, Factory, make_customer
from tests.sql.auto_syncs import acting
from tests.sql.support import NOBODY, call, call_json, call_value, cancel, one, refused, violates

FRONTEND = json.dumps({"type": "customer", "id": "api_key:1"})
LIMIT = 20
RIVALS = 4
INSERT = "INSERT INTO calendar_feeds (resource_id, customer_id, token_hash) VALUES ($1, $2, $3)"


def hash_of(name: str) -> bytes:
    return name.encode().ljust(32, b".")


async def create(conn: asyncpg.Connection, name: str = "ours", **overrides: Any) -> UUID:
    """A feed of Ann's, or of whom the arguments name."""
    whose = {} if "p_resource_id" in overrides else {"p_customer_ref": "ann"}
    arguments = {"p_actor": ACTOR, "p_token_hash": hash_of(name)} | whose | overrides
    return UUID((await call_json(conn, "create_calendar_feed", **arguments))["id"])


async def read(conn: asyncpg.Connection, name: str = "ours", **overrides: Any) -> list[asyncpg.Record]:
    return await call(conn, "read_calendar_feed", p_token_hash=hash_of(name), **overrides)


async def revoke(conn: asyncpg.Connection, feed_id: UUID, actor: str = ACTOR) -> bool:
    return bool(await call_value(conn, "revoke_calendar_feed", p_actor=actor, p_feed_id=feed_id))


async def listed(conn: asyncpg.Connection, **whose: Any) -> list[UUID]:
    return [UUID(item["id"]) for item in (await call_json(conn, "list_calendar_feeds", **whose))["items"]]


async def test_a_feed_is_one_resources_or_one_customers_whoever_writes_it(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id, customer_id = await make.resource(), await make_customer(conn)

    for owners in ((None, None), (resource_id, customer_id)):
        with violates("calendar_feeds_owner_check"):
            await conn.execute(INSERT, *owners, hash_of("x"))
    with violates("calendar_feeds_token_hash_check"):
        await conn.execute(INSERT, resource_id, None, b"the token itself")
    await create(conn, "x")
    with violates("calendar_feeds_token_hash_key"):
        await conn.execute(INSERT, resource_id, None, hash_of("x"))


async def test_what_is_answered_of_a_feed_is_that_it_is_there(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    ours = {"p_resource_id": resource_id}
    second = await create(conn, "second", **ours, p_now=TOMORROW)
    first = await create(conn, "first", **ours, p_now=TOMORROW - HOUR)
    await create(conn, "elsewhere", p_resource_id=await make.resource())
    anns = await create(conn, "anns")

    answer = await call_json(conn, "list_calendar_feeds", **ours)

    assert [item.keys() for item in answer["items"]] == [{"id", "created_at"}] * 2
    assert await listed(conn, **ours) == [first, second]
    assert await listed(conn, p_customer_ref="ann") == [anns]
    assert await listed(conn, p_customer_ref="bob") == []


@pytest.mark.parametrize("function", ["create_calendar_feed", "list_calendar_feeds"])
async def test_a_resource_that_is_not_there_has_no_feeds(conn: asyncpg.Connection, function: str) -> None:
    more = {"p_actor": ACTOR, "p_token_hash": hash_of("x")} if function == "create_calendar_feed" else {}

    with refused("SB009", "resource_not_found"):
        await call(conn, function, p_resource_id=NOBODY, **more)


async def test_a_customers_own_token_makes_a_feed_of_nobody_else(conn: asyncpg.Connection) -> None:
    feed_id = await create(conn, p_actor=acting("bob"), p_customer_ref="ann")

    assert await listed(conn, p_customer_ref="bob") == [feed_id]
    assert await listed(conn, p_customer_ref="ann") == []


async def test_a_customers_feed_shows_the_customers_bookings_and_a_resources_its_own(
    make: Factory, conn: asyncpg.Connection
) -> None:
    court, pool = await make.resource("Court"), await make.resource("Pool")
    there = await make.booking(await make.slot(pool, starts_at=TOMORROW + HOUR))
    here = await make.booking(await make.slot(court, starts_at=TOMORROW))
    bobs = await make.booking(await make.slot(court, starts_at=TOMORROW + 2 * HOUR), p_customer='{"ref": "bob"}')
    await create(conn, "anns")
    await create(conn, "courts", p_resource_id=court)
    await create(conn, "empty", p_resource_id=await make.resource())

    anns, courts = await read(conn, "anns"), await read(conn, "courts")

    assert [(row["is_of_resource"], row["booking_id"]) for row in anns] == [(False, here), (False, there)]
    assert [(row["is_of_resource"], row["booking_id"]) for row in courts] == [(True, here), (True, bobs)]
    (elsewhere,) = await call(conn, "calendar_bookings", p_resource_id=pool)
    assert dict(elsewhere).items() <= dict(anns[1]).items()
    (nothing,) = await read(conn, "empty")
    assert (nothing["is_of_resource"], nothing["booking_id"]) == (True, None)
    assert await read(conn, "unknown") == []


async def test_who_has_it_already_gets_no_booking_until_one_changes(make: Factory, conn: asyncpg.Connection) -> None:
    booking_id = await make.booking()
    await create(conn)
    (shown,) = await read(conn)

    (kept,) = await read(conn, p_etags=["0", shown["etag"]])
    assert (kept["etag"], kept["booking_id"]) == (shown["etag"], None)

    await cancel(conn, booking_id)
    (changed,) = await read(conn, p_etags=[shown["etag"]])
    assert changed["etag"] != shown["etag"]
    assert (changed["booking_id"], changed["status"]) == (booking_id, "cancelled")


async def test_a_revoked_feed_shows_nothing_and_is_not_revoked_again(make: Factory, conn: asyncpg.Connection) -> None:
    await make.booking()
    feed_id, other = await create(conn), await create(conn, "other")

    assert await revoke(conn, feed_id) is True

    assert (await read(conn), await listed(conn, p_customer_ref="ann")) == ([], [other])
    assert len(await read(conn, "other")) == 1
    assert await revoke(conn, feed_id) is False


async def test_a_feed_is_revoked_by_whose_it_is_and_by_who_speaks_for_them(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resources = await create(conn, "resources", p_resource_id=await make.resource())
    anns = [await create(conn, name) for name in ("one", "two", "three")]
    await make_customer(conn, "bob")

    for actor, feed_id in ((acting("bob"), anns[0]), (acting("new"), anns[0]), (acting("ann"), resources)):
        assert await revoke(conn, feed_id, actor) is False
    assert await revoke(conn, resources, FRONTEND) is False
    assert len(await read(conn, "one")) == len(await read(conn, "resources")) == 1

    allowed = ((acting("ann"), anns[0]), (FRONTEND, anns[1]), (ACTOR, anns[2]), (ACTOR, resources))
    assert [await revoke(conn, feed_id, actor) for actor, feed_id in allowed] == [True] * 4
    assert await revoke(conn, NOBODY) is False


@pytest.mark.parametrize("owner", ["resource", "customer"])
async def test_rivals_make_no_more_feeds_than_one_may_have(
    make: Factory, conn: asyncpg.Connection, connect: Connect, owner: str
) -> None:
    owner_id = await make.resource() if owner == "resource" else await make_customer(conn)
    whose = {"p_resource_id": owner_id} if owner == "resource" else {"p_customer_ref": "ann"}
    feeds = [await create(conn, str(n), **whose) for n in range(LIMIT - 1)]
    rivals = await connections(connect, RIVALS)

    async with conn.transaction():
        await conn.execute(f"SELECT FROM {owner}s WHERE id = $1 FOR UPDATE", owner_id)
        tasks = begin(create(rival, f"rival {n}", **whose) for n, rival in enumerate(rivals))
        await until_waiting(await connect(), RIVALS)
    won, lost = await outcomes(tasks)

    assert (len(won), lost) == (1, ["SB041 too_many_feeds"] * (RIVALS - 1))
    assert len(await listed(conn, **whose)) == LIMIT
    with refused("SB041", "too_many_feeds") as refusal:
        await create(conn, "one more", **whose)
    assert refusal.detail == {"limit": LIMIT}
    # others have their own, and what is revoked counts no more
    await create(conn, "bobs", p_customer_ref="bob")
    await revoke(conn, feeds[0])
    await create(conn, "one more", **whose)


async def test_an_erased_customers_feeds_are_revoked_and_open_nothing_however_they_came_back(
    make: Factory, conn: asyncpg.Connection
) -> None:
    await make.booking(p_customer='{"ref": "bob"}')
    await create(conn)
    customer_id = await conn.fetchval("SELECT id FROM customers WHERE ref = 'ann'")

    await call(conn, "erase_customer", p_actor=ACTOR, p_customer_ref="ann", p_reason="asked for it")

    assert await read(conn) == []
    assert await one(conn, "SELECT revoked_at IS NOT NULL FROM calendar_feeds") == (True,)
    emptied = "SELECT ip_address, request_id FROM audit_log WHERE event = 'calendar_feed.created'"
    assert await one(conn, emptied) == (None, None)
    assert await faults(conn) == []
    # around the API, and a feed without a ref to look for would show everybody's
    await conn.execute("UPDATE calendar_feeds SET revoked_at = NULL")
    await conn.execute(INSERT, None, customer_id, hash_of("later"))
    assert (await read(conn), await read(conn, "later")) == ([], [])


async def test_the_trail_says_who_made_and_who_revoked_it_and_nothing_of_the_token(conn: asyncpg.Connection) -> None:
    feed_id = await create(conn, p_now=TOMORROW)
    await revoke(conn, feed_id, acting("ann"))

    made, ended = await conn.fetch("SELECT * FROM audit_log WHERE subject_type = 'calendar_feed' ORDER BY id")

    assert (made["event"], made["performed_by_id"], made["subject_id"]) == (
        "calendar_feed.created",
        "tester",
        str(feed_id),
    )
    assert ended["event"] == "calendar_feed.modified"
    assert json.loads(ended["new_values"])["revoked_at"] is not None
    assert ended["performed_by_id"] == json.loads(acting("ann"))["id"]
    assert json.loads(made["new_values"]).keys() == {"id", "resource_id", "customer_id", "created_at", "revoked_at"}
    assert await faults(conn) == []
    async with undone(conn):
        await conn.execute("UPDATE calendar_feeds SET revoked_at = NULL")
        assert [(fault.subject_id, fault.fault) for fault in await faults(conn)] == [(str(feed_id), "differs")]
