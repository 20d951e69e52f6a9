"""Who acts in a transaction, as policies ask: act_for tells; acting, acting_customer and acts_for_everybody say.

waitlist_ahead, auto_sync_answers and name_participants are what a customer's request has to know or do of others.
"""

import json

import asyncpg
import pytest

from tests.factories import ACTOR, Factory, make_customer
from tests.sql.auto_syncs import acting, make_crew, start, started
from tests.sql.support import call, call_json, call_value

ACT = "SELECT set_config('holdfast.actor', $1, true)"


async def told(conn: asyncpg.Connection, actor: str | None) -> tuple[object, ...]:
    """What a policy hears while that one acts."""
    async with conn.transaction():
        if actor is not None:
            await conn.execute(ACT, actor)
        return (
            await call_value(conn, "acts_for_everybody"),
            await call_value(conn, "acting", p_what="customer_ref"),
            await call_value(conn, "acting_customer"),
        )


@pytest.mark.parametrize("actor", [None, ""])
async def test_nobody_acts_until_it_is_told(conn: asyncpg.Connection, actor: str | None) -> None:
    assert await told(conn, actor) == (False, None, None)


async def test_who_is_no_customer_acts_for_everybody(conn: asyncpg.Connection) -> None:
    assert await told(conn, ACTOR) == (True, None, None)
    assert await told(conn, "{}") == (True, None, None)


async def test_a_customer_acts_for_nobody_else_known_or_not(conn: asyncpg.Connection) -> None:
    ann_id = await make_customer(conn, "ann")

    assert await told(conn, acting("ann")) == (False, "ann", ann_id)
    assert await told(conn, acting("new")) == (False, "new", None)


async def test_on_a_connection_that_was_used_before_nobody_acts(conn: asyncpg.Connection) -> None:
    await make_customer(conn, "ann")
    await told(conn, acting("ann"))

    assert await conn.fetchval("SELECT current_setting('holdfast.actor', true)") == ""
    assert await told(conn, None) == (False, None, None)


async def test_reading_for_a_customer_narrows_what_was_told_and_never_widens_it(conn: asyncpg.Connection) -> None:
    async def after(*refs: str | None, actor: str | None = None) -> object:
        async with conn.transaction():
            if actor is not None:
                await conn.execute(ACT, actor)
            for ref in refs:
                await call(conn, "act_for", p_customer_ref=ref)
            return json.loads(await conn.fetchval("SELECT current_setting('holdfast.actor')"))

    assert await after(None) == {}
    assert await after("ann") == {"customer_ref": "ann"}
    assert await after("ann", None) == {"customer_ref": "ann"}
    assert await after("ann", actor=ACTOR) == json.loads(ACTOR) | {"customer_ref": "ann"}
    assert await after(None, actor=acting("ann")) == json.loads(acting("ann"))


async def test_how_many_wait_ahead_is_counted_whoever_they_are(conn: asyncpg.Connection, make: Factory) -> None:
    slot_id = await make.slot()
    await make.booking(slot_id)
    for ref in ("one", "two", "three"):
        customer = json.dumps({"ref": ref})
        await call(conn, "join_waitlist", p_actor=ACTOR, p_slot_id=slot_id, p_customer=customer)
    await conn.execute("UPDATE waitlist_entries SET status = 'cancelled' WHERE place_in_line % 2 = 0")

    places = [place for (place,) in await conn.fetch("SELECT place_in_line FROM waitlist_entries ORDER BY 1")]
    ahead = [await call_value(conn, "waitlist_ahead", p_slot_id=slot_id, p_place_in_line=place) for place in places]
    waiting = [place % 2 for place in places]
    assert ahead == [0, waiting[0], waiting[0] + waiting[1]]


async def test_members_of_a_crew_read_each_others_answers_by_name(conn: asyncpg.Connection) -> None:
    sync = await started(conn)

    answers = await call_json(conn, "auto_sync_answers", p_auto_sync_id=sync["id"])

    assert sorted(answer["name"] for answer in answers) == ["Ann", "Bob", "Eve"]
    assert answers == sync["participants"]


async def test_who_is_named_is_counted_and_who_is_not_asked_is_not(conn: asyncpg.Connection) -> None:
    await make_customer(conn, "stranger")
    sync = await start(conn, await make_crew(conn, "ann", "bob"))

    refs = ["ann", "stranger", "nobody"]
    assert await call_value(conn, "name_participants", p_auto_sync_id=sync["id"], p_refs=refs) == 1
    named = "SELECT c.ref FROM auto_sync_participants p JOIN customers c ON c.id = p.customer_id WHERE p.is_named"
    assert [row["ref"] for row in await conn.fetch(named)] == ["ann"]
