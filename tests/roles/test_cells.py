"""Every cell of role and right, tried from a raw connection as that role: what is closed is refused."""

import asyncpg
import pytest

from app.tables import metadata
from migrations.roles import lists
from tests.factories import ACTOR, Factory
from tests.migrations.support import connected
from tests.roles.support import LOGIN_ROLES, connected_as, give_roles
from tests.sql.support import call_row, refused

TOLD = lists()
TABLES = [*(table.name for table in metadata.sorted_tables), "alembic_version"]
COLUMN = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = $1::regclass AND attnum > 0 AND attidentity = '' AND attgenerated = '' LIMIT 1
"""
WAYS = {
    "SELECT": "SELECT FROM {table}",
    "INSERT": "INSERT INTO {table} DEFAULT VALUES",
    "UPDATE": "UPDATE {table} SET {column} = {column}",
    "DELETE": "DELETE FROM {table}",
    "TRUNCATE": "TRUNCATE {table}",
    "LOCK": "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
    "TRIGGER": "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "RLS": "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "DROP": "DROP TABLE {table}",
}
# who uses the service's database without owning it
USERS = ("app", "worker", "readonly", "auditor")
NOBODYS = {
    "make a table": "CREATE TABLE holdfast.mine (id integer)",
    "make one elsewhere": "CREATE TABLE public.mine (id integer)",
    "make a temporary one": "CREATE TEMPORARY TABLE slots (id integer)",
    "make a function": "CREATE FUNCTION holdfast.mine() RETURNS integer LANGUAGE sql RETURN 1",
    "replace a function": "CREATE OR REPLACE FUNCTION holdfast.refuse_change() RETURNS trigger LANGUAGE sql",
    "make a schema": "CREATE SCHEMA mine",
    "make a role": "CREATE ROLE mine",
    "make a trigger": "CREATE TRIGGER mine AFTER INSERT ON bookings EXECUTE FUNCTION holdfast.refuse_change()",
    "make a policy": "CREATE POLICY mine ON bookings USING (true)",
    "drop a function": "DROP FUNCTION holdfast.write_audit_log",
    "drop the schema": "DROP SCHEMA holdfast CASCADE",
    "be the owner": "SET ROLE holdfast_owner",
    "be bound": "SET ROLE holdfast_bound",
    "migrate": "SET ROLE holdfast_migrator",
    "take the owner's rights": "GRANT holdfast_owner TO CURRENT_USER",
    "take a table": "ALTER TABLE bookings OWNER TO CURRENT_USER",
    "take what is another's": "REASSIGN OWNED BY holdfast_owner TO CURRENT_USER",
    "go around triggers": "SET session_replication_role = replica",
    "draw a reference": "SELECT nextval('booking_reference_seq')",
    "write a file": "COPY (SELECT 1) TO '/tmp/holdfast'",
    "run a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "read a file": "SELECT pg_read_file('/etc/hostname')",
}
FUNCTIONS = """
    SELECT proname::text AS name, format('SELECT FROM holdfast.%I(%s)', proname, (
      SELECT string_agg(format('(SELECT NULL::%s)', t::regtype), ', ' ORDER BY n)
      FROM unnest(proargtypes::oid[]) WITH ORDINALITY AS x (t, n)
    )) AS call
    FROM pg_proc WHERE pronamespace = 'holdfast'::regnamespace AND prorettype <> 'trigger'::regtype
"""


def may(role: str, right: str, name: str) -> bool:
    inherited = {"app": ("app", "worker")}.get(role, (role,))
    return any(right in TOLD.rights[one].get(name, ()) for one in inherited)


async def is_open(conn: asyncpg.Connection, statement: str) -> bool:
    """Whether it may be tried; what else is wrong with it does not matter, and nothing of it is done."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(statement)
    except asyncpg.InsufficientPrivilegeError as error:
        return "row-level security" in str(error)
    except asyncpg.PostgresError:
        return True
    finally:
        await transaction.rollback()
    return True


@pytest.mark.parametrize("role", USERS)
async def test_a_role_may_do_with_tables_what_its_list_says_and_nothing_else(
    dsn: str, conn: asyncpg.Connection, role: str
) -> None:
    columns = {table: await conn.fetchval(COLUMN, table) for table in TABLES}
    async with connected_as(dsn, f"holdfast_{role}") as user:
        open_cells = {
            (way, table)
            for way, statement in WAYS.items()
            for table in TABLES
            if await is_open(user, statement.format(table=table, column=columns[table]))
        }

    assert open_cells == {("SELECT", table) for table in TABLES if may(role, "SELECT", table)}


@pytest.mark.parametrize("role", USERS)
async def test_a_role_may_call_what_its_list_says_and_nothing_else(
    dsn: str, conn: asyncpg.Connection, role: str
) -> None:
    functions = await conn.fetch(FUNCTIONS)
    async with connected_as(dsn, f"holdfast_{role}") as user:
        open_cells = {row["name"] for row in functions if await is_open(user, row["call"])}

    assert open_cells == {row["name"] for row in functions if may(role, "EXECUTE", row["name"])}


@pytest.mark.parametrize("role", [role for role in LOGIN_ROLES if role != "holdfast_migrator"])
async def test_what_nobody_may_who_serves_or_reads(dsn: str, role: str) -> None:
    # what of it is of the database, not of the schema, no copy of a database keeps
    await give_roles(dsn)

    async with connected_as(dsn, role) as user:
        assert [what for what, statement in NOBODYS.items() if await is_open(user, statement)] == []


async def test_the_app_writes_through_functions_what_it_cannot_write_itself(dsn: str, make: Factory) -> None:
    slot_id = await make.slot()

    async with connected_as(dsn, "holdfast_app") as app:
        booked = await call_row(
            app, "create_booking_safe", p_actor=ACTOR, p_slot_id=slot_id, p_customer='{"ref": "ann"}'
        )
        with refused("42501"):
            await app.execute("UPDATE bookings SET status = 'cancelled' WHERE id = $1", booked["booking_id"])


async def test_readers_see_all_rows_and_the_auditor_the_trail(
    dsn: str, conn: asyncpg.Connection, make: Factory
) -> None:
    await make.booking(p_customer='{"ref": "ann"}')
    await make.booking(p_customer='{"ref": "bob"}')

    async with connected_as(dsn, "holdfast_readonly") as reader:
        assert await reader.fetchval("SELECT count(*) FROM bookings JOIN customers c ON c.id = customer_id") == 2
    async with connected_as(dsn, "holdfast_auditor") as auditor:
        trail = await auditor.fetchval("SELECT count(*) FROM audit_log")
        assert trail == await conn.fetchval("SELECT count(*) FROM audit_log")
        assert '"fault_count" : 0' in await auditor.fetchval("SELECT verify_audit_log()")


async def test_a_temporary_table_takes_no_tables_place_and_no_functions(
    dsn: str, conn: asyncpg.Connection, make: Factory
) -> None:
    slot_id = await make.slot(max_bookings=1)
    async with connected(dsn, "pg_temp, holdfast") as hijacker:
        await hijacker.execute(
            """CREATE TEMPORARY TABLE slots AS SELECT * FROM holdfast.slots;
            UPDATE slots SET max_bookings = 999;
            CREATE FUNCTION pg_temp.require_room(slots, integer, integer, timestamptz) RETURNS void LANGUAGE sql AS '';
            CREATE FUNCTION pg_temp.acting(text) RETURNS text LANGUAGE sql AS 'SELECT NULL';
            GRANT ALL ON slots TO PUBLIC"""
        )
        await hijacker.execute("SET SESSION AUTHORIZATION holdfast_app")
        book = "SELECT * FROM holdfast.create_booking_safe($1, $2, '{}')"
        await hijacker.fetch(book, ACTOR, slot_id)
        with refused("SB002", "slot_full"):
            await hijacker.fetch(book, ACTOR, slot_id)

    assert await conn.fetchval("SELECT booked_bookings FROM slots WHERE id = $1", slot_id) == 1
