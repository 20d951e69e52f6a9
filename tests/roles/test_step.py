"""`holdfast migrate --create-roles`: what it takes, what it leaves, how often and by how many it may be run."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from alembic import command

from app.audit.checkpoints import verify
from app.database import open_database
from app.doctor import examine
from app.jobs.housekeeping import retention_of
from app.jobs.processor import process_jobs
from app.main import handlers_of
from app.migrate import alembic_config, migrate
from app.security import Actor
from migrations.roles import LOGINS, RolesError
from tests.cli.test_commands import holdfast
from tests.conftest import settings_for
from tests.databases import dsn_as, on_server
from tests.factories import ACTOR, TOMORROW, Factory
from tests.migrations.support import connected, definitions_at, down, up
from tests.roles.snapshot import PAGE, rights
from tests.roles.support import connected_as, give_roles
from tests.sql.support import call_row, refused

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def the_way_back() -> str:
    """The statements that docs/operations.md gives for it."""
    block = OPERATIONS.partition("The way back,")[2].partition("\n\n")[2].partition("\n\n")[0]
    return "\n".join(line.removeprefix("    ") for line in block.splitlines())


@asynccontextmanager
async def role(dsn: str, attributes: str) -> AsyncIterator[str]:
    """The address of that database for a new role that may log in."""
    name, password, server = f"somebody_{uuid4().hex}", uuid4().hex, urlsplit(dsn)
    await on_server(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' {attributes}")
    try:
        yield server._replace(netloc=f"{name}:{password}@{server.netloc.rpartition('@')[2]}").geturl()
    finally:
        async with connected(dsn) as conn:
            await conn.execute(f"DROP OWNED BY {name} CASCADE")
        await on_server(f"DROP ROLE {name}")


async def create(dsn: str, schema: str = "holdfast") -> None:
    settings = settings_for(dsn).model_copy(update={"db_schema": schema})
    await asyncio.to_thread(migrate, settings, create_roles=True)


async def test_the_command_makes_the_roles(empty_dsn: str) -> None:
    made = holdfast(empty_dsn, "migrate", "--create-roles")

    assert made.returncode == 0, made
    async with connected(empty_dsn) as conn:
        assert await rights(conn) == PAGE.read_text()


async def test_a_worker_does_all_that_is_due_and_an_auditor_verifies_it(
    dsn: str, conn: asyncpg.Connection, make: Factory
) -> None:
    past = await make.slot(starts_at=TOMORROW - timedelta(days=2))
    await make.booking(past, p_now=TOMORROW - timedelta(days=3))

    settings = settings_for(dsn_as(dsn, "holdfast_worker"))
    async with open_database(settings) as database:
        handlers, retention = handlers_of(database, settings), retention_of(settings)
        report = await process_jobs(database, Actor("system", "cron"), handlers, retention, caller="cli")
    async with open_database(settings_for(dsn_as(dsn, "holdfast_auditor"))) as database:
        verified = await verify(database, None, None)

    assert (report.processed, report.remaining_due) == (1, 0)
    assert await conn.fetchval("SELECT status FROM bookings") == "completed"
    assert (verified.fault_count, verified.entries) == (0, await conn.fetchval("SELECT count(*) FROM audit_log"))


async def test_the_doctor_says_who_we_are_and_warns_of_an_owner(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await examine(settings_for(dsn_as(dsn, "holdfast_app")), embedded_server=False)
    assert "connected as holdfast_app to the schema holdfast, which has roles" in capsys.readouterr().out

    assert not await examine(settings_for(dsn), embedded_server=False)
    assert re.search(r"✗ \w+ may do everything in the schema: serve as holdfast_app", capsys.readouterr().out)


async def test_who_serves_is_told_who_migrates(dsn: str) -> None:
    with pytest.raises(
        RolesError, match="holdfast_app may not migrate the schema holdfast: connect as holdfast_migrator"
    ):
        await up(dsn_as(dsn, "holdfast_app"))


async def test_without_the_right_to_make_roles_nothing_is_changed(empty_dsn: str) -> None:
    schema = f"s_{uuid4().hex[:8]}"
    async with role(empty_dsn, "") as plain:
        async with connected(empty_dsn) as conn:
            await conn.execute(f"GRANT CREATE ON DATABASE {urlsplit(empty_dsn).path[1:]} TO {urlsplit(plain).username}")

        with pytest.raises(
            RolesError, match="may not create roles: run this as a superuser, or as a role with CREATEROLE"
        ):
            await create(plain, schema)

        async with connected(empty_dsn) as conn:
            assert await conn.fetchval("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $1)", schema) == 0


async def test_who_may_make_roles_needs_no_superuser_then_or_later(empty_dsn: str) -> None:
    schema, database = f"s_{uuid4().hex[:8]}", urlsplit(empty_dsn).path[1:]
    async with role(empty_dsn, "CREATEROLE") as creator:
        await on_server(f"ALTER DATABASE {database} OWNER TO {urlsplit(creator).username}")
        in_schema = settings_for(creator).model_copy(update={"db_schema": schema})

        await asyncio.to_thread(migrate, in_schema, "0030")
        await create(creator, schema)
        await asyncio.to_thread(command.downgrade, alembic_config(in_schema), "0030")
        await asyncio.to_thread(migrate, in_schema)
        await create(creator, schema)

        assert await page_of(empty_dsn, schema) == without_roles(PAGE.read_text())
        await on_server(f"ALTER DATABASE {database} OWNER TO CURRENT_USER")
        await remove(schema, empty_dsn)


async def page_of(dsn: str, schema: str) -> str:
    """Every right in that schema, as if it were the one of the page."""
    async with connected(dsn, schema) as conn:
        return without_roles(await rights(conn, schema)).replace(schema, "holdfast")


def without_roles(page: str) -> str:
    return page.partition("# schema")[2]


async def remove(schema: str, *places: str) -> None:
    """An installation in all its databases, and its roles."""
    names = ", ".join(f"{schema}_{one}" for one in LOGINS)
    for place in places:
        async with connected(place) as conn:
            await conn.execute(f"DROP SCHEMA {schema} CASCADE; DROP OWNED BY {names}")
    await on_server(f"DROP ROLE {names}")


async def test_a_migrator_migrates_up_and_down_and_the_app_never_loses_a_function(dsn: str, make: Factory) -> None:
    slot_id = await make.slot(max_bookings=2)
    before = await definitions_at(dsn)
    async with role(dsn, "IN ROLE holdfast_migrator") as migrator:
        for revision in ("0029", "0020"):
            await down(migrator, revision)
            async with connected(dsn) as conn:
                page = await rights(conn)
            assert "PUBLIC" not in re.sub(r".* to public .*", "", page)
            assert "create_booking_safe of holdfast_" in page
            await up(migrator)

    assert await definitions_at(dsn) == before
    async with connected(dsn) as conn:
        assert await rights(conn) == PAGE.read_text()
    async with connected_as(dsn, "holdfast_app") as app:
        await call_row(app, "create_booking_safe", p_actor=ACTOR, p_slot_id=slot_id, p_customer='{"ref": "ann"}')


async def test_an_older_schema_with_roles_still_serves(dsn: str, make: Factory) -> None:
    slot_id = await make.slot()
    await down(dsn, "0030")

    async with connected_as(dsn, "holdfast_app") as app:
        made = await call_row(app, "create_booking_safe", p_actor=ACTOR, p_slot_id=slot_id, p_customer='{"ref": "ann"}')
        assert await call_row(app, "get_booking", p_booking_id=made["booking_id"])


async def test_many_make_them_at_once_in_one_database_and_in_others(empty_dsn: str, dsn: str) -> None:
    schema = f"s_{uuid4().hex[:8]}"

    done = await asyncio.gather(
        *(
            asyncio.to_thread(holdfast, place, "migrate", "--create-roles", DB_SCHEMA=schema)
            for place in (empty_dsn, dsn)
        )
    )

    assert [one.returncode for one in done] == [0, 0], done
    assert {await page_of(place, schema) for place in (empty_dsn, dsn)} == {without_roles(PAGE.read_text())}
    await remove(schema, empty_dsn, dsn)


async def test_an_installation_with_one_url_is_converted_and_goes_back_as_the_docs_say(
    empty_dsn: str,
) -> None:
    await up(empty_dsn)
    async with connected(empty_dsn) as conn:
        slot_id = await Factory(conn).slot(max_bookings=3)
        await Factory(conn).booking(slot_id)

    await give_roles(empty_dsn)
    async with connected(empty_dsn) as conn:
        await Factory(conn).booking(slot_id)
        await conn.execute(the_way_back())

    await up(empty_dsn)
    async with connected(empty_dsn) as conn:
        await Factory(conn).booking(slot_id)
        assert await conn.fetchval("SELECT count(*) FROM bookings") == 3
        assert not re.search(r"holdfast_(owner|app|bound)", without_roles(await rights(conn)))
        assert await conn.fetchval("SELECT count(*) FROM pg_class WHERE relforcerowsecurity") == 0
    async with open_database(settings_for(empty_dsn)) as database:
        assert not (await database.standing())["has_roles"]


async def test_a_dump_is_whole_or_refused(dsn: str, make: Factory) -> None:
    await make.booking()

    async with connected_as(dsn, "holdfast_owner") as owner:
        # as pg_dump asks it to be
        await owner.execute("SET row_security = off")
        with refused("42501"):
            await owner.fetch("SELECT * FROM bookings")
        # as pg_dump --enable-row-security does
        await owner.execute("SET row_security = on")
        assert len(await owner.fetch("SELECT * FROM bookings")) == 1


async def test_without_roles_everything_is_the_connecting_roles_as_it_was(empty_dsn: str) -> None:
    await up(empty_dsn)

    async with connected(empty_dsn) as conn:
        forced = await conn.fetchval("SELECT count(*) FROM pg_class WHERE relforcerowsecurity")
        definers = await conn.fetch(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'holdfast'::regnamespace AND prosecdef"
        )
    assert (forced, {row["proname"] for row in definers}) == (0, {"own_crews", "own_auto_syncs"})
