"""The rights that are there are those on the page, and no new object gets by: the catalog against sql/roles/."""

import re

import asyncpg
import pytest

from app.tables import metadata
from migrations import roles, sqltree
from tests.contracts.support import without_comments
from tests.contracts.test_queries import CALLED
from tests.migrations.support import up
from tests.roles.snapshot import PAGE, rights
from tests.roles.support import give_roles

TOLD = roles.lists()
TEXTS = {
    name.removeprefix("functions/"): without_comments(text)
    for name, text in sqltree.current().items()
    if name.startswith("functions/")
}
# of whose call the name is a parameter: see app/bookings/queries.py
BY_NAME = {"cancel_booking", "reschedule_booking", "record_payment", "confirm_booking", "mark_no_show"}
# of customers, but only admins and frontends may ask: see tests/api/test_ownership.py for what customers may
FOR_NO_CUSTOMER = {
    *("export_customer", "erase_customer", "put_legal_hold", "delete_legal_hold", "add_crew_member"),
    *("confirm_booking", "mark_no_show", "record_payment", "record_payment_event", "booking_history"),
    # one reader follows for all, and tells each their own
    "read_events",
}


def having(right: str, role: str) -> set[str]:
    return {name for name, rights_of in TOLD.rights[role].items() if right in rights_of}


CALLS = {function: set(re.findall(r"\b(\w+)\(", text)) & TEXTS.keys() - {function} for function, text in TEXTS.items()}


def reached_by(functions: set[str]) -> set[str]:
    """They, and what they call with the rights that they have themselves."""
    entries = {name for role in ("app", "worker", "auditor") for name in having("EXECUTE", role)} | having(
        "OWN", "owner"
    )
    reached: set[str] = set()
    new = set(functions)
    while new:
        reached |= new
        new = {name for function in new for name in CALLS[function]} - entries - reached
    return reached


async def test_the_rights_are_those_on_the_page(conn: asyncpg.Connection) -> None:
    assert await rights(conn) == PAGE.read_text()


def test_public_may_do_nothing_and_no_right_may_be_passed_on() -> None:
    told = [line for line in PAGE.read_text().splitlines() if " to public using " not in line]

    assert [line for line in told if re.search(r"PUBLIC|[A-Z]\*|superuser|bypassrls|createrole|createdb", line)] == []


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE extra (id integer)",
        "CREATE VIEW extra AS SELECT * FROM bookings",
        "CREATE SEQUENCE extra",
        "CREATE TYPE extra AS (id integer)",
        "CREATE FUNCTION extra() RETURNS integer LANGUAGE sql RETURN 1",
        "DROP FUNCTION api_key_json; " + sqltree.current()["functions/api_key_json"],
        "GRANT SELECT ON bookings TO PUBLIC",
        "GRANT UPDATE ON bookings TO holdfast_app",
        "GRANT SELECT (email) ON customers TO holdfast_worker",
        "GRANT EXECUTE ON FUNCTION book_slot TO holdfast_app",
        "GRANT CREATE ON SCHEMA holdfast TO holdfast_app",
        "GRANT holdfast_owner TO holdfast_readonly",
        "ALTER FUNCTION get_booking OWNER TO holdfast_owner",
        "ALTER FUNCTION upsert_customer SECURITY DEFINER",
        "ALTER FUNCTION get_booking RESET search_path",
        "ALTER TABLE messages NO FORCE ROW LEVEL SECURITY",
        "CREATE POLICY open ON customers USING (true)",
        "DROP POLICY whose_it_is ON bookings",
        sqltree.current()["functions/create_booking_safe"],
    ],
)
async def test_a_difference_is_seen(conn: asyncpg.Connection, change: str) -> None:
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute("SET LOCAL search_path TO holdfast, pg_temp")
    await conn.execute(change)
    changed = await rights(conn)
    await transaction.rollback()

    assert changed != PAGE.read_text()


async def test_the_next_migrate_puts_right_what_somebody_changed(dsn: str, conn: asyncpg.Connection) -> None:
    await conn.execute("SET search_path TO holdfast, pg_temp")
    await conn.execute(
        """GRANT UPDATE ON bookings TO holdfast_app; GRANT EXECUTE ON FUNCTION book_slot TO PUBLIC;
        GRANT USAGE ON TYPE slot_change TO PUBLIC; GRANT UPDATE ON slots TO holdfast_bound;
        ALTER TABLE messages NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
        DROP POLICY whose_it_is ON bookings; CREATE POLICY whose_it_is ON bookings USING (true);
        ALTER FUNCTION upsert_customer SECURITY DEFINER; ALTER FUNCTION get_booking OWNER TO holdfast_owner"""
    )
    await conn.execute(sqltree.current()["functions/create_booking_safe"])

    await up(dsn)

    assert await rights(conn) == PAGE.read_text()


async def test_giving_roles_once_more_changes_nothing(dsn: str, conn: asyncpg.Connection) -> None:
    versions = (
        "SELECT array_agg(xmin::text || relname ORDER BY oid) FROM pg_class WHERE oid >= 16384 AND relkind <> 't'"
    )
    before = await rights(conn), await conn.fetchval(versions)

    await give_roles(dsn)

    assert (await rights(conn), await conn.fetchval(versions)) == before


def test_the_app_and_the_worker_may_call_what_python_calls_and_nothing_else() -> None:
    listed = having("EXECUTE", "app") | having("EXECUTE", "worker")

    assert listed == {call.function for call in CALLED} | BY_NAME
    assert having("EXECUTE", "app") & having("EXECUTE", "worker") == set()


def test_every_table_whose_rows_are_a_customers_is_bound() -> None:
    theirs = {
        table.name for table in metadata.sorted_tables if {"customer_id", "organizer_id"} & set(table.columns.keys())
    }

    assert theirs | {"customers"} <= TOLD.rows.keys()


def test_what_looks_at_who_the_customer_is_runs_bound() -> None:
    looks = re.compile(r"\bp_customer_ref\b|->> 'customer_ref'|\bown_customer\(")
    entries = having("EXECUTE", "app") - FOR_NO_CUSTOMER

    assert {name for name in entries if any(looks.search(TEXTS[n]) for n in reached_by({name}))} == having(
        "OWN", "bound"
    )


def test_nothing_looks_beyond_the_customer_without_being_asked_to_by_what_is_bound() -> None:
    asked = {name for function in reached_by(having("OWN", "bound")) for name in CALLS[function]}
    by_policies = {"acting_customer", "own_crews", "own_auto_syncs"}

    assert having("OWN", "owner") == (having("OWN", "owner") & asked) | by_policies


def test_what_is_bound_has_rights_to_the_tables_that_it_names_and_to_no_others() -> None:
    named = {
        table
        for function in reached_by(having("OWN", "bound"))
        for table in re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE|USING) (\w+)\b", TEXTS[function])
    } | {"booking_reference_seq"}

    given = {name for name in TOLD.rights["bound"] if name not in TEXTS}
    assert given == named & given
    assert named & (having("SELECT", "readonly") | having("SELECT", "auditor")) <= given
