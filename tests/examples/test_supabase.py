"""examples/cron/supabase.sql, on a server with stand-ins for Supabase's schemas and roles."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from app import embedded
from tests.examples.support import CRON

SETUP = (CRON / "supabase.sql").read_text()
STAND_INS = Path(__file__).with_name("supabase_stand_ins.sql").read_text()
SECRET = "what-the-vault-keeps"  # noqa: S105
ORDINARY = ("anon", "authenticated", "service_role", "stranger")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own, since roles belong to a server."""
    pg_bin = os.environ.get("PG_BIN")
    with embedded.temporary(pg_bin=Path(pg_bin) if pg_bin else None) as server:
        yield server.url


@pytest.fixture(scope="module")
async def superuser(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Who runs the server: Supabase's own people."""
    conn = await asyncpg.connect(url)
    await conn.execute(STAND_INS)
    yield conn
    await conn.close()


@pytest.fixture
async def postgres(url: str, superuser: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """The role of the SQL editor, no superuser, when the secret is in the vault and the example has run."""
    await superuser.execute("TRUNCATE vault.secrets, net.http_request_queue")
    await superuser.execute("INSERT INTO vault.secrets VALUES ('holdfast_cron_secret', $1)", SECRET.encode())
    conn = await asyncpg.connect(url, user="postgres")
    await conn.execute(SETUP)
    yield conn
    await conn.close()


async def run_scheduled(conn: asyncpg.Connection, name: str = "holdfast-process-jobs") -> None:
    """What pg_cron would run each time, as the role that scheduled it."""
    await conn.execute(await conn.fetchval("SELECT command FROM cron.job WHERE jobname = $1", name))


async def scheduled(conn: asyncpg.Connection) -> dict[str, str]:
    return {row["jobname"]: row["schedule"] for row in await conn.fetch("SELECT jobname, schedule FROM cron.job")}


async def test_a_call_is_posted_with_the_secret_from_the_vault(postgres: asyncpg.Connection) -> None:
    await run_scheduled(postgres)

    (request,) = await postgres.fetch("SELECT * FROM net.http_request_queue")
    assert request["url"] == "https://holdfast.example.com/cron/process-jobs"
    assert json.loads(request["headers"])["Authorization"] == f"Bearer {SECRET}"
    assert request["timeout_milliseconds"] > 10_000


async def test_without_the_secret_the_run_fails_and_says_so(
    postgres: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    await superuser.execute("TRUNCATE vault.secrets")

    with pytest.raises(asyncpg.RaiseError, match="the vault has no holdfast_cron_secret"):
        await run_scheduled(postgres)

    assert await postgres.fetchval("SELECT count(*) FROM net.http_request_queue") == 0


@pytest.mark.parametrize("role", ORDINARY)
@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT holdfast_cron.process_jobs()",
        "SELECT decrypted_secret FROM vault.decrypted_secrets",
        "SET ROLE holdfast_cron",
        "CREATE TABLE holdfast_cron.mine ()",
    ],
)
async def test_an_ordinary_role_neither_calls_it_nor_gets_at_the_secret(
    url: str, postgres: asyncpg.Connection, superuser: asyncpg.Connection, role: str, attempt: str
) -> None:
    await superuser.execute(f"ALTER ROLE {role} LOGIN")
    conn = await asyncpg.connect(url, user=role)

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await conn.execute(attempt)

    await conn.close()
    assert await postgres.fetchval("SELECT count(*) FROM net.http_request_queue") == 0


async def test_even_with_the_schema_open_the_function_is_not(
    url: str, postgres: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    await superuser.execute("GRANT USAGE ON SCHEMA holdfast_cron TO stranger")
    conn = await asyncpg.connect(url, user="stranger")

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for function process_jobs"):
        await conn.execute("SELECT holdfast_cron.process_jobs()")

    await conn.close()
    await superuser.execute("REVOKE USAGE ON SCHEMA holdfast_cron FROM stranger")
    assert await postgres.fetchval("SELECT count(*) FROM net.http_request_queue") == 0


async def test_the_function_runs_as_a_role_that_nobody_can_be(url: str, postgres: asyncpg.Connection) -> None:
    (owner,) = await postgres.fetch(
        """SELECT r.rolname, r.rolcanlogin, r.rolsuper, p.prosecdef, p.proconfig
        FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE p.oid = 'holdfast_cron.process_jobs'::regproc"""
    )

    assert tuple(owner) == ("holdfast_cron", False, False, True, ['search_path=""'])
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(url, user="holdfast_cron")
    # not even by who made it
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await postgres.execute("SET ROLE holdfast_cron")


async def test_a_caller_s_own_objects_take_the_place_of_nothing(postgres: asyncpg.Connection) -> None:
    await postgres.execute(
        """CREATE SCHEMA trap;
        GRANT USAGE ON SCHEMA trap TO PUBLIC;
        CREATE FUNCTION trap.jsonb_build_object(text, text, text, text) RETURNS jsonb
        LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
        SET search_path = trap, pg_catalog"""
    )

    await run_scheduled(postgres)

    headers = await postgres.fetchval("SELECT headers FROM net.http_request_queue")
    assert json.loads(headers)["Authorization"] == f"Bearer {SECRET}"


async def test_run_again_it_schedules_the_same(postgres: asyncpg.Connection) -> None:
    first = await scheduled(postgres)

    await postgres.execute(SETUP)

    assert await scheduled(postgres) == first
    assert first == {"holdfast-process-jobs": "* * * * *", "holdfast-forget-pg-cron-runs": "17 3 * * *"}


async def test_runs_of_three_days_ago_are_forgotten_but_those_of_others_are_not(
    postgres: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    await superuser.execute(
        """INSERT INTO cron.job (jobname) VALUES ('somebody-elses');
        INSERT INTO cron.job_run_details
        SELECT j.jobid, now() - age FROM cron.job j, (VALUES (interval '4 days'), (interval '2 days')) a (age)
        WHERE j.jobname IN ('holdfast-process-jobs', 'somebody-elses')"""
    )

    await run_scheduled(postgres, "holdfast-forget-pg-cron-runs")

    left = await superuser.fetch(
        "SELECT j.jobname, count(*) FROM cron.job_run_details JOIN cron.job j USING (jobid) GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in left] == [("holdfast-process-jobs", 1), ("somebody-elses", 2)]
    await superuser.execute("TRUNCATE cron.job, cron.job_run_details")
