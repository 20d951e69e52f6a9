"""sql/ is what the database runs: the same objects, the same text, and the house rules kept."""

import re

import asyncpg
import pytest

from migrations import sqltree
from tests.migrations.support import connected, definitions

TREE = sqltree.current()
FUNCTIONS = [name for name in TREE if name.startswith("functions/")]
MAX_OPENING_LINES = 5
# A trigger may read it: nobody hands it a time.
CLOCK = re.compile(
    r"\bnow\(\)|\b(clock|statement|transaction)_timestamp\b|\bCURRENT_(DATE|TIME)|\bLOCALTIME", re.IGNORECASE
)


def code(text: str) -> str:
    """The statement without its comments."""
    return re.sub(r"--[^\n]*", "", text)


def body(text: str) -> str:
    """What stands between the dollar quotes, or is the one expression returned, without comments."""
    quoted = code(text).split("$$")
    return quoted[1] if len(quoted) > 1 else code(text).partition("\nRETURN ")[2]


async def test_a_migrated_database_runs_exactly_these_objects(conn: asyncpg.Connection) -> None:
    assert set(await definitions(conn)) == set(TREE)


async def test_applying_sql_to_a_migrated_database_changes_nothing(dsn: str, conn: asyncpg.Connection) -> None:
    migrated = await definitions(conn)

    async with connected(dsn, "holdfast, pg_temp") as applied:
        for statement in TREE.values():
            await applied.execute(statement)

    assert await definitions(conn) == migrated


async def test_every_function_looks_for_names_in_its_own_schema_and_last_among_temporary_tables(
    conn: asyncpg.Connection,
) -> None:
    # the names in a single RETURN expression were bound when it was made
    rows = await conn.fetch(
        """SELECT proname, coalesce(proconfig, '{}') AS set FROM pg_proc
        WHERE pronamespace = 'holdfast'::regnamespace AND prosqlbody IS NULL"""
    )

    assert [row["proname"] for row in rows if "search_path=holdfast, pg_temp" not in row["set"]] == []


# Row-level policies ask them, of tables under the same policies, for whoever may not read customers. They take no
# argument and answer ids of the customer who acts.
AS_THE_OWNER = {"own_crews", "own_auto_syncs"}


async def test_no_function_runs_with_other_rights_than_its_callers_but_those_of_the_policies(
    conn: asyncpg.Connection,
) -> None:
    query = "SELECT proname, pronargs FROM pg_proc WHERE pronamespace = 'holdfast'::regnamespace AND prosecdef"

    assert {tuple(row) for row in await conn.fetch(query)} == {(name, 0) for name in AS_THE_OWNER}


async def test_every_parameter_is_called_p_something(conn: asyncpg.Connection) -> None:
    rows = await conn.fetch(
        "SELECT proname, proargnames[:pronargs] AS names FROM pg_proc WHERE pronamespace = 'holdfast'::regnamespace"
    )

    assert [f"{r['proname']}({n})" for r in rows for n in r["names"] or [] if not n.startswith("p_")] == []


@pytest.mark.parametrize("name", TREE)
def test_a_file_is_one_statement_that_makes_the_object_it_is_named_after(name: str) -> None:
    kind, stem = name.split("/")
    outside = re.sub(r"\$\$.*\$\$", "", code(TREE[name]), flags=re.DOTALL).strip()

    assert re.match(rf"CREATE OR REPLACE {kind.removesuffix('s').upper()} {stem}\b", outside)
    assert outside.count("CREATE") == 1
    assert ";" not in outside


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_opens_with_what_it_promises(name: str) -> None:
    lines = TREE[name].splitlines()
    opening = lines[: next(n for n, line in enumerate(lines) if not line.startswith("--"))]

    assert 1 <= len(opening) <= MAX_OPENING_LINES
    assert opening[0].startswith("-- Promises: ")
    assert lines[len(opening)].startswith("CREATE")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_swallows_no_error_and_notifies_nobody(name: str) -> None:
    assert not re.search(r"\bWHEN\s+OTHERS\b|\bNOTIFY\b|pg_notify", code(TREE[name]), re.IGNORECASE)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "RETURNS trigger" not in TREE[name]])
def test_a_function_takes_the_time_as_it_is_given(name: str) -> None:
    assert not CLOCK.search(body(TREE[name]))


def test_the_rules_above_see_what_they_look_for() -> None:
    text = "-- NOTIFY in a comment\nCREATE OR REPLACE FUNCTION f() AS $$ BEGIN PERFORM now(); END $$"

    assert (code(text).count("NOTIFY"), body(text).strip()) == (0, "BEGIN PERFORM now(); END")
