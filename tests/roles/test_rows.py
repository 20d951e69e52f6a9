"""The second wall: what runs for a customer sees that customer's rows alone, whatever its own queries say."""

import json
import re
from uuid import UUID

import asyncpg
import pytest

from migrations import sqltree
from migrations.roles import lists
from tests.api.test_ownership import ANN, BOB, World, world
from tests.api.test_ownership import test_what_is_anothers_is_hidden_forbidden_or_left_out_and_stays_as_it_is as matrix
from tests.factories import ACTOR, Factory
from tests.migrations.support import up
from tests.roles.support import ACT, connected_as
from tests.sql.auto_syncs import acting
from tests.sql.support import call, refused

__all__ = ["world"]

TABLES = lists().rows
# where functions compare rows with the customer who asks: each looks at nobody any more
PREDICATES = (
    (r"p_customer_ref IS NULL OR", "true OR"),
    (r"COALESCE\(c\.ref = p_actor ->> 'customer_ref', p_actor ->> 'customer_ref' IS NULL\)", "true"),
    (r"v_ref IS NULL OR", "true OR"),
    (r"RETURN p_actor ->> 'customer_ref' IS NULL OR", "RETURN true OR"),
)


def without_predicates() -> dict[str, str]:
    """Every function that has one, without it."""
    mutants = {}
    for name, text in sqltree.current().items():
        mutant = text
        for predicate, replacement in PREDICATES:
            mutant = re.sub(predicate, replacement, mutant)
        if mutant != text:
            mutants[name.removeprefix("functions/")] = mutant
    return mutants


@pytest.fixture
async def careless(world: World, dsn: str, conn: asyncpg.Connection) -> None:  # noqa: ARG001 - made before
    """A release that forgot every one of them."""
    await conn.execute("SET search_path TO holdfast, pg_temp")
    for mutant in without_predicates().values():
        await conn.execute(mutant)
    await up(dsn)


async def seen(conn: asyncpg.Connection, actor: str | None) -> dict[str, int]:
    """How many rows of each table somebody sees."""
    async with conn.transaction():
        if actor is not None:
            await conn.execute(ACT, actor)
        return {table: await conn.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


def test_what_a_careless_release_forgets_is_what_customers_read_and_change_by() -> None:
    assert without_predicates().keys() >= {
        *("get_booking", "list_bookings", "calendar_bookings", "get_waitlist_entry", "list_waitlist", "get_prebooking"),
        *("list_prebookings", "list_credentials", "get_crew", "list_crews", "get_auto_sync", "list_auto_syncs"),
        *("lock_booking", "is_organizer", "revoke_calendar_feed"),
    }


@pytest.mark.usefixtures("careless")
async def test_with_every_predicate_forgotten_what_is_anothers_is_as_hidden_as_before(
    world: World, conn: asyncpg.Connection
) -> None:
    await matrix(world, conn)


@pytest.mark.usefixtures("careless")
async def test_with_every_predicate_forgotten_a_customers_feed_shows_that_customers_bookings_alone(
    world: World, dsn: str
) -> None:
    token_hash = bytes(32)
    async with connected_as(dsn, "holdfast_app") as app:
        await call(app, "create_calendar_feed", p_actor=ACTOR, p_token_hash=token_hash, p_customer_ref=ANN)
        shown = await call(app, "read_calendar_feed", p_token_hash=token_hash)

    assert [str(row["booking_id"]) for row in shown] == [world.things["booking_id"]]


@pytest.mark.usefixtures("careless")
async def test_without_the_policies_that_release_shows_everything(world: World, conn: asyncpg.Connection) -> None:
    for table in TABLES:
        await conn.execute(f"CREATE POLICY open ON {table} USING (true)")

    assert (await world.bob.get(f"/v1/bookings/{world.things['booking_id']}")).status_code == 200
    assert ANN in (await world.bob.get("/v1/bookings")).text
    with pytest.raises(AssertionError):
        await matrix(world, conn)


@pytest.mark.usefixtures("world")
async def test_until_it_is_told_who_acts_nothing_is_seen(dsn: str, conn: asyncpg.Connection) -> None:
    nothing = dict.fromkeys(TABLES, 0)

    async with connected_as(dsn, "holdfast_bound") as bound:
        assert await seen(bound, None) == nothing
        assert await seen(bound, "") == nothing
        assert await seen(bound, acting(BOB)) == nothing
        anns = await seen(bound, acting(ANN))
        # on a connection that has acted for somebody, and for all
        assert await seen(bound, ACTOR) == await seen(conn, None)
        assert await seen(bound, None) == nothing
    assert {table for table, count in anns.items() if not count} <= {
        *("provider_credentials", "messages", "prebooking_attempts", "auto_sync_times", "idempotency_keys")
    }
    assert anns["bookings"] == 1


async def test_a_customer_writes_no_row_that_is_anothers(dsn: str, conn: asyncpg.Connection, make: Factory) -> None:
    anns = await make.booking(p_customer='{"ref": "ann"}')
    bobs = await make.booking(p_customer='{"ref": "bob"}')
    ann_id = await conn.fetchval("SELECT id FROM customers WHERE ref = 'ann'")

    async with connected_as(dsn, "holdfast_bound") as bound:

        async def as_bob(statement: str, *arguments: UUID) -> str:
            async with bound.transaction():
                await bound.execute(ACT, acting("bob"))
                return str(await bound.execute(statement, *arguments))

        assert await as_bob("UPDATE bookings SET metadata = '{\"a\": 1}' WHERE id = $1", anns) == "UPDATE 0"
        assert await as_bob("UPDATE bookings SET metadata = '{\"a\": 1}' WHERE id = $1", bobs) == "UPDATE 1"
        assert await as_bob("UPDATE customers SET name = 'x'") == "UPDATE 1"
        for statement in (
            "UPDATE bookings SET customer_id = $1",
            """INSERT INTO bookings (slot_id, resource_id, starts_at, ends_at, customer_id, status)
            SELECT slot_id, resource_id, starts_at, ends_at, $1, 'confirmed' FROM bookings""",
            "INSERT INTO customers (ref, name) SELECT $1::uuid::text, 'x'",
        ):
            with refused("42501"):
                await as_bob(statement, ann_id)


async def test_reading_for_a_customer_leaves_who_acts_as_it_was_told(
    dsn: str, conn: asyncpg.Connection, make: Factory
) -> None:
    booking_id = await make.booking(p_customer='{"ref": "ann"}')
    async with connected_as(dsn, "holdfast_app") as app:
        async with app.transaction():
            await app.execute(ACT, json.dumps({"type": "admin", "id": "x"}))
            await app.fetch("SELECT * FROM get_booking($1, 'ann')", booking_id)
            told = json.loads(await app.fetchval("SELECT current_setting('holdfast.actor')"))
        assert told == {"type": "admin", "id": "x", "customer_ref": "ann"}
        assert await app.fetchval("SELECT current_setting('holdfast.actor')") == ""
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 1
