"""Behind PgBouncer in transaction mode: each statement another server connection, and nobody notices."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import httpx2
import pytest
from pydantic import SecretStr

from app.embedded.account import Account
from app.main import create_app
from app.migrate import head_revision, migrate
from app.settings import Settings
from tests.api.calls import book, cancel
from tests.concurrency.rivals import assert_counters_equal_a_recount
from tests.conftest import client_of, settings_for
from tests.databases import SERVER
from tests.factories import Factory, make_api_key

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
SERVER_CONNECTIONS = 3
CLIENT_CONNECTIONS = 10

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not on PATH")


def server_options() -> str:
    """Where the server is, in PgBouncer's words."""
    url = urlsplit(os.environ[SERVER])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    options = {
        "host": query.get("host", url.hostname),
        "port": query.get("port", url.port or 5432),
        "user": unquote(url.username or "postgres"),
        "password": unquote(url.password) if url.password else None,
    }
    return " ".join(f"{name}={value}" for name, value in options.items() if value)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_open(port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"pgbouncer did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def pooler_port() -> Iterator[int]:
    # it refuses to run as root, like Postgres; and only the server's own account may open the server's socket
    account, port = Account.choose(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        configuration, log = Path(folder, "pgbouncer.ini"), Path(folder, "log")
        configuration.write_text(
            f"[databases]\n* = {server_options()}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"unix_socket_dir =\nauth_type = any\npool_mode = transaction\nmax_client_conn = 200\n"
            f"default_pool_size = {SERVER_CONNECTIONS}\n"
        )
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(PGBOUNCER), str(configuration)],
                stdout=output,
                stderr=output,
                user=account.uid if account.is_other else None,
                group=account.gid if account.is_other else None,
                extra_groups=[] if account.is_other else None,
            )
        try:
            until_open(port, log)
            yield port
        finally:
            process.kill()
            process.wait()


def settings_through(port: int, dsn: str) -> Settings:
    database = urlsplit(dsn).path
    return settings_for(dsn).model_copy(
        update={
            "database_url": SecretStr(f"postgresql://holdfast@127.0.0.1:{port}{database}"),
            "db_pooler": "transaction",
            "db_pool_size": CLIENT_CONNECTIONS,
        }
    )


@pytest.fixture
async def frontend(pooler_port: int, dsn: str, conn: asyncpg.Connection) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of an installation behind the pooler."""
    app = create_app(settings_through(pooler_port, dsn))
    async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "frontend")) as client:
        yield client


async def test_a_database_is_migrated_through_it(pooler_port: int, empty_dsn: str) -> None:
    await asyncio.to_thread(migrate, settings_through(pooler_port, empty_dsn))

    conn = await asyncpg.connect(empty_dsn)
    assert await conn.fetchval("SELECT version_num FROM holdfast.alembic_version") == head_revision()
    await conn.close()


async def test_a_booking_is_made_read_listed_and_cancelled_through_it(
    frontend: httpx2.AsyncClient, make: Factory
) -> None:
    booked = await book(frontend, await make.slot(), "key-1")

    read = await frontend.get(booked.headers["location"])
    listed = await frontend.get("/v1/bookings")
    cancelled = await cancel(frontend, booked.json()["id"])
    history = await frontend.get(f"{booked.headers['location']}/history")

    assert [answer.status_code for answer in (booked, read, listed, cancelled, history)] == [201, 200, 200, 200, 200]
    assert listed.json()["items"] == [read.json()] == [booked.json()]
    assert [entry["event"] for entry in history.json()["items"]] == ["booking.created", "booking.cancelled"]


async def test_more_callers_than_server_connections_get_along(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_ids = [await make.slot(max_bookings=7) for _ in range(4)]

    async def visit(n: int) -> list[int]:
        booked = await book(frontend, slot_ids[n % 4], f"key-{n}", customer={"ref": f"c-{n % 9}", "name": f"{n}"})
        listed = await frontend.get("/v1/bookings", params={"customer_ref": f"c-{n % 9}"})
        given_back = await cancel(frontend, booked.json()["id"]) if booked.status_code == 201 and n % 2 else listed
        return [booked.status_code, listed.status_code, given_back.status_code]

    visits = await asyncio.gather(*(visit(n) for n in range(40)))

    told = Counter(status for visit in visits for status in visit)
    assert told.keys() == {200, 201, 409}
    await assert_counters_equal_a_recount(conn)


async def test_who_acts_is_told_apart_though_they_share_a_server_connection(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(max_bookings=100)

    answers = await asyncio.gather(
        *(
            frontend.post(
                "/v1/bookings",
                json={"slot_id": str(slot_id), "customer": {"ref": f"c-{n}"}},
                headers={"X-Request-ID": f"r-{n}"},
            )
            for n in range(50)
        )
    )

    for n, answer in enumerate(answers):
        recorded = await conn.fetchval(
            "SELECT request_id FROM audit_log WHERE subject_id = $1 AND subject_type = 'booking'", answer.json()["id"]
        )
        assert recorded == f"r-{n}"
