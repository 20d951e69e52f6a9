"""No connection can be made: nothing was sent, so every way of failing is `unavailable`, and over when its cause is."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from app.database import Database
from app.main import create_app
from tests.api.calls import assert_problem
from tests.concurrency.rivals import begin, until_waiting
from tests.conftest import Connect, client_of, settings_for
from tests.databases import dsn_of, on_server

CANNOT_CONNECT = ["08004", "08006", "08P01", "28000", "28P01", "3D000", "53300", "55000", "57P03", "XX000"]


@asynccontextmanager
async def caller_of(dsn: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of an installation whose pool has no connection yet: the first request has to make one."""
    app = create_app(settings_for(dsn))
    async with asyncpg.create_pool(dsn, min_size=0, max_size=2) as pool, client_of(app) as client:
        app.state.database = Database(pool, "holdfast")
        yield client


async def assert_unavailable(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/resources")
    assert assert_problem(answer, 503, "unavailable")["retryable"] is True
    assert int(answer.headers["retry-after"]) >= 1


class Role(NamedTuple):
    """A plain role that may read, and that role's way into the test's database."""

    name: str
    dsn: str


@pytest.fixture
async def role(dsn: str, conn: asyncpg.Connection) -> AsyncIterator[Role]:
    name, password = f"reader_{uuid4().hex}", uuid4().hex
    server = urlsplit(dsn)
    host = server.netloc.rpartition("@")[2]
    await conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    await conn.execute(f"GRANT USAGE ON SCHEMA holdfast TO {name}")
    await conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA holdfast TO {name}")
    yield Role(name, server._replace(netloc=f"{name}:{password}@{host}").geturl())
    await conn.execute(f"DROP OWNED BY {name}")
    await conn.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize(("shut_out", "let_in"), [("NOLOGIN", "LOGIN"), ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1")])
async def test_a_role_that_is_shut_out_is_served_again_when_it_is_let_in(
    role: Role, conn: asyncpg.Connection, shut_out: str, let_in: str
) -> None:
    async with caller_of(role.dsn) as client:
        await conn.execute(f"ALTER ROLE {role.name} {shut_out}")
        await assert_unavailable(client)

        await conn.execute(f"ALTER ROLE {role.name} {let_in}")
        assert (await client.get("/v1/resources")).status_code == 200


async def test_a_database_that_was_dropped_is_served_again_when_it_is_back(template: str) -> None:
    name = f"test_{uuid4().hex}"
    async with caller_of(dsn_of(name)) as client:
        await assert_unavailable(client)

        await on_server(f"CREATE DATABASE {name} TEMPLATE {template}")
        assert (await client.get("/v1/resources")).status_code == 200
    await on_server(f"DROP DATABASE {name} WITH (FORCE)")


def refusal(sqlstate: str) -> bytes:
    """The ErrorResponse with which a server ends a connection before its first statement."""
    fields = b"".join(b"%b%b\0" % (key, value) for key, value in ((b"S", b"FATAL"), (b"V", b"FATAL"), (b"M", b"no")))
    body = fields + b"C" + sqlstate.encode() + b"\0\0"
    return b"E" + (len(body) + 4).to_bytes(4) + body


@asynccontextmanager
async def server_that_says(last_words: bytes) -> AsyncIterator[str]:
    """The address of a server that hears each newcomer out, says this, and hangs up."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(last_words)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield address_of(server.sockets[0].getsockname()[1])


def address_of(port: int) -> str:
    return f"postgresql://holdfast:secret@127.0.0.1:{port}/holdfast?sslmode=disable"


@pytest.mark.parametrize("sqlstate", CANNOT_CONNECT)
async def test_a_server_that_refuses_is_unavailable_whatever_its_reason(sqlstate: str) -> None:
    async with server_that_says(refusal(sqlstate)) as dsn, caller_of(dsn) as client:
        await assert_unavailable(client)


async def test_a_server_that_hangs_up_before_it_was_asked_anything_is_unavailable() -> None:
    async with server_that_says(b"") as dsn, caller_of(dsn) as client:
        await assert_unavailable(client)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which connections are made and nobody answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is nobody else's and refuses."""
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


async def test_a_port_that_refuses_is_unavailable(closed_port: int) -> None:
    async with caller_of(address_of(closed_port)) as client:
        await assert_unavailable(client)


async def test_a_server_that_never_answers_is_unavailable_in_time(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.deadlines.CONNECTION", 0.1)

    async with caller_of(address_of(silent_port)) as client:
        await assert_unavailable(client)


async def test_a_pool_whose_connections_are_all_in_use_is_busy(
    dsn: str, conn: asyncpg.Connection, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.deadlines.CONNECTION", 0.1)
    observer, app = await connect(), create_app(settings_for(dsn))

    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool, client_of(app) as client:
        app.state.database = Database(pool, "holdfast")
        async with conn.transaction():
            await conn.execute("LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
            (served,) = begin([client.get("/v1/resources")])
            await until_waiting(observer, 1)
            assert_problem(await client.get("/v1/resources"), 503, "busy")
        assert (await served).status_code == 200
        assert (await client.get("/v1/resources")).status_code == 200


async def test_who_waits_longest_for_a_connection_is_next(dsn: str) -> None:
    served: list[str] = []

    async def call(who: str, times: int) -> None:
        for _ in range(times):
            await database.revision()
            served.append(who)

    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        database = Database(pool, "holdfast")
        # the first one comes again the moment its connection is free, while the others are already there
        await asyncio.gather(call("again", 9), call("second", 1), call("third", 1))

    assert served[:3] == ["again", "second", "third"]
