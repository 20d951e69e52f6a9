"""Crews, and who sees what of them: functions by name, and row-level policies from a raw connection.

create_crew, add_crew_member and remove_crew_member call lock_crew, and that is_organizer; crew_json and
crew_member_json are what they answer; own_crews and own_auto_syncs are what the policies ask.
"""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.conftest import Connect
from tests.factories import ACTOR
from tests.sql.auto_syncs import DAY, START, acting, answer, by_email, join, make_crew, start, started, step, two_times
from tests.sql.jobs import claim
from tests.sql.support import NOBODY, call_json, call_row, call_value, refused

TABLES = ("crews", "crew_members", "auto_syncs", "auto_sync_times", "auto_sync_participants")
ACT = "SELECT set_config('holdfast.actor', $1, true)"


@pytest.fixture
async def reader(conn: asyncpg.Connection, connect: Connect) -> AsyncIterator[asyncpg.Connection]:
    """A plain role that may do everything with the tables of crews, as far as the policies let it."""
    role = f"reader_{uuid4().hex}"
    await conn.execute(f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA holdfast TO {role}")
    await conn.execute(f"GRANT ALL ON {', '.join(TABLES)} TO {role}")
    plain = await connect()
    await plain.execute(f"SET ROLE {role}")
    yield plain
    await plain.execute("RESET ROLE")
    await conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def seen(reader: asyncpg.Connection, actor: str | None) -> dict[str, int]:
    """How many rows of each table somebody sees."""
    async with reader.transaction():
        if actor is not None:
            await reader.execute(ACT, actor)
        return {table: await reader.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


async def test_members_and_organizers_see_the_rows_of_their_own_crews(
    conn: asyncpg.Connection, reader: asyncpg.Connection
) -> None:
    await started(conn, p_times=two_times())
    await start(conn, await make_crew(conn, "zoe", organizer="ann"))
    whole = {"crews": 1, "crew_members": 3, "auto_syncs": 1, "auto_sync_times": 2, "auto_sync_participants": 3}
    other = {"crews": 1, "crew_members": 1, "auto_syncs": 1, "auto_sync_times": 0, "auto_sync_participants": 1}

    assert await seen(reader, acting("bob")) == await seen(reader, acting("org")) == whole
    assert await seen(reader, acting("zoe")) == other
    assert await seen(reader, acting("ann")) == {table: whole[table] + other[table] for table in TABLES}
    assert list((await seen(conn, None)).values()) == [2, 4, 2, 2, 4]


@pytest.mark.parametrize("actor", [None, "", "{}", ACTOR, acting("stranger")])
async def test_without_being_a_customer_of_a_crew_nothing_is_seen(
    conn: asyncpg.Connection, reader: asyncpg.Connection, actor: str | None
) -> None:
    await started(conn, p_times=two_times())

    assert set((await seen(reader, actor)).values()) == {0}


async def test_who_has_left_sees_nothing_any_more(conn: asyncpg.Connection, reader: asyncpg.Connection) -> None:
    await started(conn)
    await conn.execute("UPDATE crew_members SET left_at = now()")

    assert set((await seen(reader, acting("ann"))).values()) == {0}


async def test_a_member_changes_nothing(conn: asyncpg.Connection, reader: asyncpg.Connection) -> None:
    sync = await started(conn)
    crew_id = UUID(sync["crew_id"])
    async with reader.transaction():
        await reader.execute(ACT, acting("ann"))
        assert await reader.execute("UPDATE auto_syncs SET event_name = 'mine'") == "UPDATE 0"
        assert await reader.execute("UPDATE auto_sync_participants SET answer = 'declined'") == "UPDATE 0"
    for insert in (
        "INSERT INTO auto_syncs (crew_id, event_name, timezone) VALUES ($1, 'x', 'UTC')",
        "INSERT INTO crew_members (crew_id, customer_id) VALUES ($1, $1)",
    ):
        async with reader.transaction():
            await reader.execute(ACT, acting("ann"))
            with refused("42501"):
                async with reader.transaction():
                    await reader.execute(insert, crew_id)


async def test_a_policys_function_answers_ids_alone_to_whoever_asks(
    conn: asyncpg.Connection, reader: asyncpg.Connection
) -> None:
    sync = await started(conn)
    async with reader.transaction():
        await reader.execute(ACT, acting("ann"))
        assert await reader.fetchval("SELECT array_agg(id) FROM own_crews() o (id)") == [UUID(sync["crew_id"])]
        assert await reader.fetchval("SELECT array_agg(id) FROM own_auto_syncs() o (id)") == [UUID(sync["id"])]
    for table in ("customers", "jobs"):
        with refused("42501"):
            await reader.fetch(f"SELECT FROM {table}")


async def test_a_crew_is_listed_to_those_it_belongs_to(conn: asyncpg.Connection) -> None:
    first, second = [await make_crew(conn, *members) for members in (("ann", "bob"), ("bob",))]

    for ref, expected in (
        ("ann", [first]),
        ("bob", [first, second]),
        ("org", [first, second]),
        (None, [first, second]),
    ):
        listed = await call_json(conn, "list_crews", p_customer_ref=ref)
        assert [UUID(crew["id"]) for crew in listed["items"]] == expected
    rows = await conn.fetch("SELECT crews_of('bob')")
    assert {row[0] for row in rows} == {first, second}
    for function in ("get_crew", "list_crew_members"):
        with refused("SB030", "crew_not_found"):
            await call_json(conn, function, p_crew_id=second, p_customer_ref="ann")
        assert await call_json(conn, function, p_crew_id=second, p_customer_ref="bob")
    syncs = await call_json(conn, "list_auto_syncs", p_crew_id=first, p_customer_ref="ann")
    assert syncs == {"items": [], "next_cursor": None}


async def test_to_join_twice_is_to_join_once(conn: asyncpg.Connection) -> None:
    crew_id = await make_crew(conn)
    first, again = [await join(conn, crew_id, "ann", p_language="el") for _ in range(2)]

    assert first == again
    assert await conn.fetchval("SELECT language FROM customers WHERE ref = 'ann'") == "el"
    with refused("SB030", "crew_not_found"):
        await join(conn, NOBODY, "ann")


async def test_no_name_or_address_stands_in_the_audit_trail(conn: asyncpg.Connection) -> None:
    await answer(conn, await started(conn), "ann")

    kept = await conn.fetchval("SELECT string_agg(a::text, '') FROM audit_log a WHERE subject_type <> 'customer'")
    for secret in ("@example.com", "Ann", "+306"):
        assert secret not in kept


async def begin(conn: asyncpg.Connection, ref: str) -> asyncpg.Record:
    """begin_message for the first message of a customer that waits."""
    query = """SELECT m.id FROM messages m JOIN customers c ON c.id = m.customer_id
        WHERE c.ref = $1 AND m.status = 'pending' ORDER BY m.created_at DESC LIMIT 1"""
    message_id = await conn.fetchval(query, ref)
    jobs = await claim(conn, queue="messages", now=START + 9 * DAY)
    (job,) = [job for job in jobs if json.loads(job["payload"])["message_id"] == str(message_id)]
    return await call_row(
        conn, "begin_message", p_message_id=message_id, p_job_id=job["id"], p_lease_token=job["lease_token"]
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (None, None),
        ("answer", "outdated"),
        ("paused", "outdated"),
        ("cancelled", "outdated"),
        ("leave", "outdated"),
        ("bob answers", None),
    ],
)
async def test_an_invitation_that_is_true_no_more_is_not_sent(
    conn: asyncpg.Connection, change: str | None, reason: str | None
) -> None:
    await by_email(conn)
    sync = await started(conn)
    match change:
        case "answer":
            await answer(conn, sync, "ann", "declined")
        case "bob answers":
            await answer(conn, sync, "bob")
        case "leave":
            await conn.execute("UPDATE crew_members SET left_at = now()")
        case "paused" | "cancelled":
            await step(conn, sync, change)

    assert (await begin(conn, "ann"))["skip_reason"] == reason
    outdated = "SELECT bool_or(auto_sync_message_is_outdated(m)) FROM messages m JOIN customers c ON c.ref = 'ann'"
    assert await conn.fetchval(f"{outdated} AND m.customer_id = c.id") is (reason is not None)


async def test_a_message_says_what_is_proposed_in_the_readers_zone_and_no_more(conn: asyncpg.Connection) -> None:
    await by_email(conn)
    sync = await started(conn, p_times=two_times())
    await conn.execute("UPDATE customers SET timezone = 'America/New_York' WHERE ref = 'ann'")

    body = json.loads((await begin(conn, "ann"))["body"])

    assert body["customer"]["timezone"] == "America/New_York"
    facts = body["auto_sync"]
    assert (facts["event_name"], facts["organizer_name"], facts["crew_name"]) == ("Five-a-side", "Org", "Football")
    assert [t["id"] for t in facts["times"]] == [t["id"] for t in sync["times"]]
    ours = [p["id"] for p in sync["participants"] if p["customer_ref"] == "ann"]
    assert [facts["participant_id"]] == ours
    for other in ("Bob", "Eve"):
        assert other not in json.dumps(body)
    query = "SELECT auto_sync_facts(a, c.id) FROM auto_syncs a, customers c WHERE c.ref = 'org'"
    assert json.loads(await conn.fetchval(query))["participant_id"] is None


async def test_an_invitation_is_open_until_the_end(conn: asyncpg.Connection) -> None:
    sync = await started(conn)
    participant: dict[str, Any] = sync["participants"][0]

    await step(conn, sync, "paused")
    opened = await call_json(conn, "get_invitation", p_participant_id=participant["id"])
    assert (opened["timezone"], opened["language"], opened["name"]) == ("Europe/Athens", None, "Ann")
    await step(conn, sync, "cancelled")
    with refused("SB033", "auto_sync_over"):
        await call_value(conn, "get_invitation", p_participant_id=participant["id"])
    with refused("SB032", "auto_sync_not_found"):
        await call_value(conn, "get_invitation", p_participant_id=NOBODY)
    assert json.loads(await conn.fetchval("SELECT auto_sync_json(a) FROM auto_syncs a"))["status"] == "cancelled"
