"""After an erasure nothing tells who the customer was: not the database, its dump, or the logs; and the rest stands."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import asyncpg
import httpx2
import pytest

from tests.audit.support import checkpoint, faults
from tests.credentials.support import FIRST
from tests.factories import make_api_key
from tests.live import LiveServer, live_server
from tests.migrations.test_dump import require_pg_dump_for, run
from tests.privacy.support import (
    EMAIL,
    GUEST,
    IP,
    JWT_SECRET,
    REF,
    TRACES,
    WORD,
    leave_traces,
    leave_traces_as_a_guest,
    prepare,
)
from tests.sql.support import call_json, call_value

Leave = Callable[[httpx2.AsyncClient, asyncpg.Connection, UUID, UUID], Awaitable[None]]
EraseAll = Callable[[httpx2.AsyncClient], Awaitable[None]]
COUNTS = """
    SELECT (SELECT json_object_agg(status, n) FROM (SELECT status, count(*) AS n FROM bookings GROUP BY 1) b),
      (SELECT json_agg((booked_bookings, booked_units) ORDER BY id) FROM slots), (SELECT count(*) FROM messages),
      (SELECT count(*) FROM customers), (SELECT count(*) FROM prebookings), (SELECT count(*) FROM waitlist_entries),
      (SELECT count(*) FROM audit_log WHERE event = 'booking.created')
"""


@pytest.fixture
async def server(dsn: str) -> AsyncIterator[LiveServer]:
    async with live_server(
        dsn,
        ENCRYPTION_KEYS=FIRST,
        JWT_SECRET=JWT_SECRET,
        LOG_LEVEL="debug",
        PUBLIC_URL="https://book.example.com",
        TRUSTED_PROXIES="127.0.0.1",
    ) as running:
        yield running


def traces_in(text: str) -> set[str]:
    return {trace for trace in TRACES if trace in text}


async def erase(admin: httpx2.AsyncClient, who: str) -> None:
    answer = await admin.post(f"/v1/customers/{who}/erase", json={"reason": "asked for it"})
    assert answer.status_code == 200, answer.text


async def erase_by_ref(admin: httpx2.AsyncClient) -> None:
    await erase(admin, REF)


async def erase_as_found(admin: httpx2.AsyncClient) -> None:
    """All that an e-mail address finds; and the telephone number finds nobody else."""
    for guest in (await admin.get("/v1/customers", params={"email": EMAIL.upper()})).json()["items"]:
        await erase(admin, f"id:{guest['id']}")
    assert (await admin.get("/v1/customers", params={"phone": GUEST["phone"]})).json()["items"] == []


@pytest.mark.parametrize(
    ("leave", "erase_all"),
    [(leave_traces, erase_by_ref), (leave_traces_as_a_guest, erase_as_found)],
    ids=["customer", "guest"],
)
async def test_no_trace_of_the_customer_is_left_in_a_dump_or_a_log(
    dsn: str, conn: asyncpg.Connection, server: LiveServer, leave: Leave, erase_all: EraseAll
) -> None:
    require_pg_dump_for(conn)
    slots = await prepare(conn)
    async with server.client(await make_api_key(conn, "frontend")) as frontend:
        await leave(frontend, conn, *slots)
    await checkpoint(conn)
    before, counts = run("pg_dump", "--no-password", "--inserts", dsn), await conn.fetch(COUNTS)
    assert traces_in(before) == {trace for trace in TRACES if len(trace) != 14}
    assert await faults(conn) == []

    async with server.client(await make_api_key(conn, "admin")) as admin:
        await erase_all(admin)

    after = run("pg_dump", "--no-password", "--inserts", dsn)
    assert [line for line in after.splitlines() if traces_in(line)] == []
    assert traces_in(server.log) == set()
    assert await faults(conn) == []
    assert await conn.fetch(COUNTS) == counts
    assert (await call_json(conn, "check_invariants"))["violation_count"] == 0


async def test_no_address_is_left_in_a_dump_after_its_time(
    dsn: str, conn: asyncpg.Connection, server: LiveServer
) -> None:
    require_pg_dump_for(conn)
    slots = await prepare(conn)
    async with server.client(await make_api_key(conn, "frontend")) as frontend:
        await leave_traces(frontend, conn, *slots)
    await checkpoint(conn)
    where_from = (IP, f"{WORD}-browser")
    before = run("pg_dump", "--no-password", "--inserts", dsn)
    assert [word for word in where_from if word in before] == [*where_from]

    for process in (1, 2):
        done = await call_value(conn, "forget_audit_addresses", p_limit=500, p_keep=timedelta(0))
        assert (done > 0) is (process == 1)

    after = run("pg_dump", "--no-password", "--inserts", dsn)
    assert [word for word in where_from if word in after] == []
    assert await faults(conn) == []
