"""The database breaks off: callers are told what is known, and the next request works."""

import asyncio
import os
from collections import Counter
from pathlib import Path

import asyncpg
import httpx2

from app import embedded
from app.migrate import migrate
from tests.api.calls import assert_problem, book
from tests.concurrency.rivals import OURS, assert_counters_equal_a_recount, begin, held_slots, until_waiting
from tests.conftest import Connect, settings_for
from tests.factories import Factory, make_api_key
from tests.live import PATIENCE_SECONDS, live_server

BREAK_OFF = f"SELECT pg_terminate_backend(pid) FROM ({OURS.replace('count(*)', 'pid')}"


async def test_a_call_that_is_broken_off_has_an_unknown_outcome_and_may_be_repeated(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection, connect: Connect
) -> None:
    slot_id, observer = await make.slot(), await connect()

    async with held_slots(conn, slot_id):
        (call,) = begin([book(frontend, slot_id, "key-1")])
        await until_waiting(observer, 1)
        assert await observer.fetchval(f"{BREAK_OFF} AND wait_event_type = 'Lock') s")
        broken = await call

    assert assert_problem(broken, 503, "outcome_unknown")["retryable"] is True
    assert int(broken.headers["retry-after"]) >= 1
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 0
    assert (await book(frontend, slot_id, "key-1")).status_code == 201


async def send_until_done(client: httpx2.AsyncClient, slot_id: object, key: str, seen: Counter[str]) -> None:
    """What a careful client does: repeat with the same key while the problem says it may help."""
    for _ in range(50):
        answer = await book(client, str(slot_id), key)
        if answer.status_code == 201:
            seen["201"] += 1
            return
        problem = answer.json()
        seen[f"{answer.status_code} {problem['code']}"] += 1
        assert problem["retryable"], problem


async def test_connections_broken_off_again_and_again_give_retryable_answers_only(
    dsn: str, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(max_bookings=10_000)
    seen: Counter[str] = Counter()

    async with live_server(dsn) as server, server.client(await make_api_key(conn, "frontend")) as client:
        for n in range(20):
            tasks = begin(send_until_done(client, slot_id, f"{n}-{m}", seen) for m in range(20))
            # in the middle of their work, and while they lie idle
            for _ in range(3):
                await conn.fetch(f"{BREAK_OFF}) s")
            await asyncio.gather(*tasks)
            await conn.fetch(f"{BREAK_OFF}) s")

    assert seen["201"] == 400
    assert seen.keys() <= {"201", "503 outcome_unknown", "503 unavailable", "503 busy"}
    assert len(seen) > 1
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 400
    await assert_counters_equal_a_recount(conn)


async def restarted(server: embedded.EmbeddedPostgres) -> embedded.EmbeddedPostgres:
    again = await asyncio.to_thread(embedded.start, server.data_dir, durable=False, pg_bin=pg_bin())
    assert again.url == server.url
    return again


def pg_bin() -> Path | None:
    return Path(found) if (found := os.environ.get("PG_BIN")) else None


async def slot_and_key(url: str) -> tuple[str, str]:
    conn = await asyncpg.connect(url, server_settings={"search_path": "holdfast"})
    try:
        return str(await Factory(conn).slot(max_bookings=10)), await make_api_key(conn, "frontend")
    finally:
        await conn.close()


async def test_the_api_outlives_a_restart_of_postgres() -> None:
    with embedded.temporary(pg_bin=pg_bin()) as postgres:
        await asyncio.to_thread(migrate, settings_for(postgres.url))
        slot_id, key = await slot_and_key(postgres.url)

        async with live_server(postgres.url) as server, server.client(key) as client:
            pids = server.worker_pids
            assert (await book(client, slot_id, "before")).status_code == 201

            postgres.stop()
            for _ in range(5):
                answer = await book(client, slot_id, "during")
                assert answer.status_code == 503, answer.text
                assert answer.json()["retryable"] is True
            assert_problem(await client.get("/readyz"), 503, "unavailable")
            assert (await client.get("/healthz")).status_code == 200

            with await restarted(postgres):
                # the very first request may find what it needs, and must within moments
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while (answer := await book(client, slot_id, "during")).status_code == 503:
                        assert answer.json()["retryable"] is True
                assert answer.status_code == 201
                replayed = await book(client, slot_id, "before")
                assert replayed.headers["idempotent-replayed"] == "true"
                assert server.worker_pids == pids
