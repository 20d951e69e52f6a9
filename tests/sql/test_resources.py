"""create_resource, update_resource, get_resource: what can be booked."""

import json
from typing import Any
from uuid import UUID

import asyncpg

from tests.factories import ACTOR, TOMORROW, Factory
from tests.sql.support import NOBODY, call_json, call_row, one, refused, violates


async def update(conn: asyncpg.Connection, resource_id: UUID, **overrides: Any) -> asyncpg.Record:
    arguments = {"p_actor": ACTOR, "p_resource_id": resource_id, "p_version": 1} | overrides
    return await call_row(conn, "update_resource", **arguments)


async def test_a_new_resource_is_answered_as_it_reads_later(conn: asyncpg.Connection) -> None:
    made = await call_row(
        conn,
        "create_resource",
        p_actor=ACTOR,
        p_name="Pitch 1",
        p_timezone="Europe/Athens",
        p_metadata='{"surface": "clay"}',
    )
    read = await call_row(conn, "get_resource", p_resource_id=made["resource_id"])

    assert (made["resource_version"], read["resource_version"]) == (1, 1)
    assert made["body"] == read["body"]
    body = json.loads(read["body"])
    assert (body["name"], body["timezone"], body["metadata"]) == ("Pitch 1", "Europe/Athens", {"surface": "clay"})
    assert body["id"] == str(made["resource_id"])


async def test_resource_json_is_the_one_shape_of_a_resource(make: Factory, conn: asyncpg.Connection) -> None:
    changed = json.loads((await update(conn, await make.resource(), p_name="Court"))["body"])
    (listed,) = (await call_json(conn, "list_resources"))["items"]
    by_hand = await conn.fetchval("SELECT resource_json(r) FROM resources r")

    assert json.loads(by_hand) == changed == listed


async def test_a_zone_postgres_does_not_know_is_refused(make: Factory, conn: asyncpg.Connection) -> None:
    with refused("22023"):
        await make.resource(timezone="Mars/Olympus")
    resource_id = await make.resource()
    with refused("22023"):
        await update(conn, resource_id, p_timezone="Mars/Olympus")


async def test_only_what_is_given_changes(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource("Pitch", "Europe/Athens")

    row = await update(conn, resource_id, p_name="Court", p_now=TOMORROW)

    body = json.loads(row["body"])
    assert (body["name"], body["timezone"], body["metadata"]) == ("Court", "Europe/Athens", {})
    assert (row["resource_version"], body["version"]) == (2, 2)
    assert await one(conn, "SELECT updated_at FROM resources") == (TOMORROW,)


async def test_given_metadata_replaces_the_whole_of_it(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()
    await update(conn, resource_id, p_metadata='{"a": 1, "b": 2}')

    row = await update(conn, resource_id, p_version=2, p_metadata='{"b": 3}')

    assert json.loads(row["body"])["metadata"] == {"b": 3}


async def test_a_stale_version_changes_nothing_and_names_the_current_one(
    make: Factory, conn: asyncpg.Connection
) -> None:
    resource_id = await make.resource()
    await update(conn, resource_id, p_name="Court")

    with refused("SB006", "version_conflict") as refusal:
        await update(conn, resource_id, p_name="Field")

    assert refusal.detail == {"resource_id": str(resource_id), "current_version": 2}
    assert await one(conn, "SELECT name FROM resources") == ("Court",)


async def test_an_unknown_resource_is_not_found(conn: asyncpg.Connection) -> None:
    with refused("SB009", "resource_not_found"):
        await update(conn, NOBODY)
    with refused("SB009", "resource_not_found"):
        await call_row(conn, "get_resource", p_resource_id=NOBODY)


async def test_the_trail_names_who_changed_it(make: Factory, conn: asyncpg.Connection) -> None:
    await update(conn, await make.resource(), p_name="Court")

    query = "SELECT performed_by_id, old_values ->> 'name', new_values ->> 'name' FROM audit_log WHERE event = $1"
    assert await one(conn, query, "resource.modified") == ("tester", "Pitch", "Court")


async def test_a_name_is_neither_empty_nor_endless(make: Factory) -> None:
    for name in ("", "x" * 201):
        with violates("resources_name_check"):
            await make.resource(name)


async def test_metadata_is_an_object(make: Factory, conn: asyncpg.Connection) -> None:
    resource_id = await make.resource()

    with violates("resources_metadata_check"):
        await update(conn, resource_id, p_metadata="[]")
