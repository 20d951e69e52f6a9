"""plpgsql_check reads every function as a compiler would, where the server has it."""

import asyncpg
import pytest

AVAILABLE = "SELECT count(*) FROM pg_available_extensions WHERE name = 'plpgsql_check'"
# A trigger function is checked once for each table it is called on: OLD and NEW are that table's rows.
CHECKED = """
    SELECT p.proname AS name, t.tgrelid::regclass::text AS on_table, p.oid, coalesce(t.tgrelid, 0) AS rel,
      t.tgoldtable AS before, t.tgnewtable AS after
    FROM pg_proc p
    JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'plpgsql'
    LEFT JOIN (
      SELECT DISTINCT tgfoid, tgrelid, tgoldtable, tgnewtable
      FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
      WHERE NOT tgisinternal AND NOT relispartition
    ) t ON t.tgfoid = p.oid
    WHERE p.pronamespace = 'holdfast'::regnamespace
"""
FINDINGS = """
    SELECT lineno, level, message, detail, hint
    FROM public.plpgsql_check_function_tb(
      $1::oid, $2::oid, fatal_errors => false, extra_warnings => true, oldtable => $3, newtable => $4
    )
"""


@pytest.fixture
async def checker(conn: asyncpg.Connection) -> asyncpg.Connection:
    if not await conn.fetchval(AVAILABLE):
        pytest.skip("this server does not have the extension plpgsql_check")
    await conn.execute("CREATE EXTENSION plpgsql_check SCHEMA public")
    await conn.execute("SET search_path TO holdfast, pg_temp")
    return conn


async def findings(conn: asyncpg.Connection) -> list[str]:
    """What the checker says of every PL/pgSQL function."""
    said = []
    for function in await conn.fetch(CHECKED):
        rows = await conn.fetch(FINDINGS, function["oid"], function["rel"], function["before"], function["after"])
        said += [f"{function['name']} {function['on_table'] or ''}: {dict(row)}" for row in rows]
    return said


async def test_no_function_holds_a_finding(checker: asyncpg.Connection) -> None:
    assert len(await checker.fetch(CHECKED)) > 30
    assert await findings(checker) == []


async def test_a_mistake_is_found(checker: asyncpg.Connection) -> None:
    await checker.execute(
        """CREATE FUNCTION mistaken() RETURNS integer LANGUAGE plpgsql
        AS $$ DECLARE v_unused integer; BEGIN RETURN (SELECT no_such_column FROM bookings); END $$"""
    )

    assert len(await findings(checker)) >= 2
