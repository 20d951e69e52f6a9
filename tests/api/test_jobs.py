"""/v1/jobs, /v1/job-queues, /readyz/jobs and /metrics: what a person and a monitor see of jobs, and may do to them."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import live
from tests.api.calls import assert_problem
from tests.concurrency.rivals import begin, until
from tests.conftest import CRON_SECRET, client_of
from tests.contracts.test_responses import assert_declared
from tests.factories import Factory, make_api_key
from tests.faults.test_hang_ups import Caller, until_noticed
from tests.jobs.support import Provider, enqueue, enqueue_many, provider, statuses

CLAIM = "SELECT id, lease_token FROM claim_jobs('somebody', 'default', $1, interval '1 hour')"
SETTLE = "SELECT answer FROM settle_jobs($1)"


async def claim(conn: asyncpg.Connection, count: int = 1) -> list[asyncpg.Record]:
    """Due jobs, which somebody runs from now on."""
    return list(await conn.fetch(CLAIM, count))


async def end(conn: asyncpg.Connection, outcome: str, count: int = 1) -> None:
    """Run due jobs, to that end."""
    for job in await claim(conn, count):
        settlement = {"id": str(job["id"]), "lease_token": job["lease_token"], "outcome": outcome}
        assert await conn.fetchval(SETTLE, json.dumps([settlement])) == "ok"


async def list_jobs(admin: httpx2.AsyncClient, **filters: Any) -> Any:
    """One page, once it is as declared."""
    answer = await admin.get("/v1/jobs", params=filters)
    assert answer.status_code == 200, answer.text
    assert_declared(answer, "/v1/jobs")
    return answer.json()


async def read(admin: httpx2.AsyncClient, job_id: UUID) -> Any:
    """One job, once it is as declared."""
    answer = await admin.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    assert_declared(answer, "/v1/jobs/{job_id}")
    return answer.json()


async def test_jobs_are_listed_by_every_filter_together(
    admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    booking_id = await make.booking()
    done = await enqueue(conn, "mail", p_booking_id=booking_id)
    await end(conn, "processed")
    waiting = await enqueue(conn, "mail", p_booking_id=booking_id)
    other = await enqueue(conn, "sms", p_queue="sms")

    async def found(**filters: Any) -> list[UUID]:
        return [UUID(job["id"]) for job in (await list_jobs(admin, **filters))["items"]]

    assert await found(job_type="mail") == [done, waiting]
    assert await found(job_type="mail", status="pending") == [waiting]
    assert await found(queue="sms") == [other]
    assert [done, waiting] == (await found(booking_id=booking_id))[1:]
    assert await found(booking_id=booking_id, queue="sms") == []


async def test_pages_of_jobs_follow_each_other(admin: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    ids = [str(job_id) for job_id in await enqueue_many(conn, 5)]

    pages: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await list_jobs(admin, limit=2, **cursor)
        pages.append([job["id"] for job in page["items"]])
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert pages == [ids[:2], ids[2:4], ids[4:]]


@pytest.mark.parametrize(
    "wrong", [{"status": "active"}, {"limit": 0}, {"limit": 201}, {"booking_id": "7"}, {"cursor": "?"}, {"kind": "x"}]
)
async def test_a_filter_that_cannot_be_is_refused(admin: httpx2.AsyncClient, wrong: dict[str, Any]) -> None:
    assert_problem(await admin.get("/v1/jobs", params=wrong), 422, "validation")


async def test_a_job_is_read_with_its_attempts_and_without_its_payload(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    job_id = await enqueue(conn, "mail", {"to": "ann@example.com"}, p_dedupe_key="once")
    await end(conn, "failed")
    await conn.execute("UPDATE jobs SET run_at = now()")
    await end(conn, "processed")

    answer = await admin.get(f"/v1/jobs/{job_id}")

    job = await read(admin, job_id)
    assert "ann@example.com" not in answer.text
    assert (job["job_type"], job["dedupe_key"], job["status"], job["attempt"]) == ("mail", "once", "processed", 2)
    assert [(a["attempt"], a["outcome"], a["instance_id"]) for a in job["attempts"]] == [
        (1, "failed", "somebody"),
        (2, "processed", "somebody"),
    ]


async def test_a_running_job_says_who_has_it(admin: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn)
    await claim(conn)

    assert (await read(admin, job_id))["leased_by"] == "somebody"


@pytest.mark.parametrize("action", ["", "/retry", "/cancel"])
async def test_a_job_that_is_not_there_is_not_found(admin: httpx2.AsyncClient, action: str) -> None:
    nobodys, method = uuid4(), "POST" if action else "GET"

    problem = assert_problem(await admin.request(method, f"/v1/jobs/{nobodys}{action}"), 404, "job_not_found")

    assert problem["job_id"] == str(nobodys)
    assert_problem(await admin.request(method, f"/v1/jobs/7{action}"), 422, "validation")


@pytest.mark.parametrize("outcome", ["permanent", "skipped"])
async def test_a_job_that_ended_undone_is_tried_once_more(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection, outcome: str
) -> None:
    job_id = await enqueue(conn, p_max_attempts=1)
    await end(conn, outcome)

    answer = await admin.post(f"/v1/jobs/{job_id}/retry")

    assert answer.status_code == 200
    assert_declared(answer, "/v1/jobs/{job_id}/retry")
    assert (answer.json()["status"], answer.json()["max_attempts"]) == ("pending", 2)
    await end(conn, "processed")
    assert (await read(admin, job_id))["status"] == "processed"


async def test_a_job_that_got_done_or_waits_is_not_tried_once_more(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    job_id = await enqueue(conn)
    for status in ("pending", "processing", "processed"):
        problem = assert_problem(await admin.post(f"/v1/jobs/{job_id}/retry"), 409, "invalid_transition")
        assert (problem["from"], problem["to"]) == (status, "pending")
        if status == "pending":
            (held,) = await claim(conn)
        elif status == "processing":
            settlement = {"id": str(held["id"]), "lease_token": held["lease_token"], "outcome": "processed"}
            await conn.execute(SETTLE, json.dumps([settlement]))


@pytest.mark.parametrize("path", ["/v1/jobs/{job_id}/retry", "/v1/job-queues/default/resume"])
async def test_who_tries_a_job_once_more_or_lets_a_queue_go_on_wakes_the_workers(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection, path: str
) -> None:
    heard = asyncio.Event()
    job_id = await enqueue(conn)
    await end(conn, "permanent")
    await conn.add_listener("holdfast_jobs", lambda *_: heard.set())

    await admin.post(path.format(job_id=job_id))

    await asyncio.wait_for(heard.wait(), 5)


async def test_a_job_that_waits_is_cancelled(admin: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    job_id = await enqueue(conn)

    answer = await admin.post(f"/v1/jobs/{job_id}/cancel")

    assert_declared(answer, "/v1/jobs/{job_id}/cancel")
    assert answer.json()["status"] == "cancelled"
    assert await claim(conn) == []
    assert_problem(await admin.post(f"/v1/jobs/{job_id}/cancel"), 409, "invalid_transition")


async def test_a_job_that_runs_is_asked_to_stop_and_not_tried_again(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    job_id = await enqueue(conn)
    (held,) = await claim(conn)

    for _ in range(2):
        asked = (await admin.post(f"/v1/jobs/{job_id}/cancel")).json()
        assert (asked["status"], asked["cancel_requested_at"] is None) == ("processing", False)

    settlement = {"id": str(job_id), "lease_token": held["lease_token"], "outcome": "failed"}
    assert await conn.fetchval(SETTLE, json.dumps([settlement])) == "cancelled"
    assert (await read(admin, job_id))["status"] == "cancelled"


async def test_what_the_database_does_by_itself_is_neither_cancelled_nor_tried_again(
    admin: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    await make.booking()
    job_id = await conn.fetchval("SELECT id FROM jobs")

    for action in ("cancel", "retry"):
        assert_problem(await admin.post(f"/v1/jobs/{job_id}/{action}"), 409, "invalid_transition")


async def test_a_queue_has_the_limits_that_were_put(admin: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    await enqueue_many(conn, 3)

    answer = await admin.put("/v1/job-queues/default", json={"max_running": 2, "stagger_ms": 50})

    assert_declared(answer, "/v1/job-queues/{name}")
    queue = {"name": "default", "max_running": 2, "stagger_ms": 50, "paused": False, "due": 3, "running": 0}
    assert answer.json() == {**queue, "resume_at": None, "pause_reason": None}
    assert len(await claim(conn, 10)) == 2
    unlimited = (await admin.put("/v1/job-queues/default", json={})).json()
    assert (unlimited["max_running"], unlimited["stagger_ms"], unlimited["running"]) == (None, 0, 2)


@pytest.mark.parametrize(
    "body",
    [
        {"max_running": 0},
        {"max_running": 10_001},
        {"max_running": "2"},
        {"stagger_ms": -1},
        {"stagger_ms": 60_001},
        {"stagger_ms": None},
        {"speed": 1},
        [],
    ],
)
async def test_limits_that_cannot_be_are_refused(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection, body: object
) -> None:
    assert_problem(await admin.put("/v1/job-queues/default", json=body), 422, "validation")
    assert await conn.fetchval("SELECT count(*) FROM job_queues") == 0


@pytest.mark.parametrize("name", ["Mail", "mail%20to", "x" * 101, "mail%0A"])
async def test_a_name_that_no_queue_has_is_refused(admin: httpx2.AsyncClient, name: str) -> None:
    assert_problem(await admin.put(f"/v1/job-queues/{name}", json={}), 422, "validation")
    assert_problem(await admin.post(f"/v1/job-queues/{name}/pause", json={}), 422, "validation")
    assert_problem(await admin.post(f"/v1/job-queues/{name}/resume"), 422, "validation")


async def test_a_paused_queue_is_left_alone_until_it_is_resumed(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    await enqueue(conn)

    paused = await admin.post("/v1/job-queues/default/pause", json={"reason": "the provider is down"})
    assert_declared(paused, "/v1/job-queues/{name}/pause")
    assert (paused.json()["paused"], paused.json()["resume_at"]) == (True, None)
    assert paused.json()["pause_reason"] == "the provider is down"
    assert await claim(conn) == []

    for _ in range(2):
        resumed = await admin.post("/v1/job-queues/default/resume")
        assert_declared(resumed, "/v1/job-queues/{name}/resume")
        assert (resumed.json()["paused"], resumed.json()["pause_reason"]) == (False, None)
    assert len(await claim(conn)) == 1


async def test_a_pause_may_have_an_end(admin: httpx2.AsyncClient) -> None:
    assert (await admin.post("/v1/job-queues/a/pause", json={"seconds": 60})).json()["resume_at"] is not None


@pytest.mark.parametrize("body", [{"seconds": 0}, {"seconds": 31_536_001}, {"seconds": 1.5}, {"until": "noon"}])
async def test_a_pause_that_cannot_be_is_refused(admin: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    assert_problem(await admin.post("/v1/job-queues/default/pause", json=body), 422, "validation")


async def test_the_statistics_count_every_job_queue_and_caller(
    admin: httpx2.AsyncClient, cron: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    await enqueue_many(conn, 3)
    await end(conn, "processed")
    await enqueue(conn, "sms", p_queue="sms")
    await admin.post("/v1/job-queues/sms/pause", json={})
    await conn.execute("SELECT FROM claim_jobs('dead', 'default', 1, interval '-1 s')")

    answer = await admin.get("/v1/jobs/stats")

    assert_declared(answer, "/v1/jobs/stats")
    stats = answer.json()
    assert stats["counts"] == [
        {"job_type": "sms", "status": "pending", "count": 1},
        {"job_type": "work", "status": "pending", "count": 1},
        {"job_type": "work", "status": "processed", "count": 1},
        {"job_type": "work", "status": "processing", "count": 1},
    ]
    assert (stats["stuck"], stats["lateness_ms"]["jobs"], stats["callers"]) == (1, 1, [])
    assert [(q["name"], q["due"], q["running"], q["paused"]) for q in stats["queues"]] == [
        ("default", 1, 1, False),
        ("sms", 1, 0, True),
    ]

    await cron.post("/cron/process-jobs")
    stats = (await admin.get("/v1/jobs/stats")).json()
    assert stats["stuck"] == 0
    (caller,) = (caller for caller in stats["callers"] if caller["caller"] == "cron")
    assert (caller["runs"], caller["open"]) == (1, 0)


async def test_a_monitor_is_told_whether_anybody_comes(public: httpx2.AsyncClient, cron: httpx2.AsyncClient) -> None:
    nobody = await public.get("/readyz/jobs")
    assert assert_problem(nobody, 503, "jobs_overdue")["last_run_age_ms"] is None

    await cron.post("/cron/process-jobs")

    somebody = await public.get("/readyz/jobs")
    assert somebody.status_code == 200
    assert_declared(somebody, "/readyz/jobs")
    assert (somebody.json()["status"], somebody.json()["due"]) == ("ok", 0)


async def test_a_monitor_is_told_that_what_is_due_waits_too_long(
    public: httpx2.AsyncClient, cron: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    await cron.post("/cron/process-jobs")
    await enqueue(conn)
    await conn.execute("UPDATE jobs SET run_at = now() - interval '170 s'")
    assert (await public.get("/readyz/jobs")).json()["due"] == 1

    await conn.execute("UPDATE jobs SET run_at = now() - interval '190 s'")

    problem = assert_problem(await public.get("/readyz/jobs"), 503, "jobs_overdue")
    assert (problem["due"], problem["oldest_due_age_ms"] >= 190_000) == (1, True)
    # it is no part of what a load balancer asks
    assert (await public.get("/readyz")).status_code == 200


async def test_a_monitor_is_told_that_nobody_comes_any_more(
    public: httpx2.AsyncClient, cron: httpx2.AsyncClient, conn: asyncpg.Connection
) -> None:
    await cron.post("/cron/process-jobs")
    await conn.execute("UPDATE job_runs SET seen_at = seen_at - interval '190 s'")

    assert_problem(await public.get("/readyz/jobs"), 503, "jobs_overdue")


async def metrics_of(client: httpx2.AsyncClient) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample that Prometheus would read: name and labels -> value."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_prometheus_reads_how_the_jobs_stand(cron: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    await enqueue_many(conn, 2, 'a "quoted"\ntype')
    await end(conn, "processed")
    await enqueue(conn, "sms", p_queue="sms")
    await conn.execute("""SELECT pause_queue('{"type": "admin", "id": "t"}', 'sms')""")
    await conn.execute("SELECT FROM claim_jobs('dead', 'default', 1, interval '-1 s')")

    metrics = await metrics_of(cron)

    assert metrics["holdfast_jobs", ('a "quoted"\ntype', "processed")] == 1
    assert metrics["holdfast_jobs_due", ()] == 1
    assert metrics["holdfast_jobs_oldest_due_age_seconds", ()] >= 0
    assert metrics["holdfast_jobs_stuck", ()] == 1
    assert metrics["holdfast_jobs_lateness_seconds", ("0.99",)] >= 0
    assert metrics["holdfast_job_queue_paused", ("sms",)] == 1
    assert metrics["holdfast_job_queue_running", ("default",)] == 1
    assert metrics["holdfast_jobs_overdue", ()] == 1
    assert ("holdfast_jobs_last_run_age_seconds", ()) not in metrics

    await cron.post("/cron/process-jobs")
    metrics = await metrics_of(cron)
    assert (metrics["holdfast_jobs_overdue", ()], metrics["holdfast_jobs_stuck", ()]) == (0, 0)
    assert 0 <= metrics["holdfast_jobs_last_run_age_seconds", ()] < 60


async def test_metrics_are_for_who_calls_the_cron_address_and_for_admins(
    admin: httpx2.AsyncClient,
    frontend: httpx2.AsyncClient,
    public: httpx2.AsyncClient,
    conn: asyncpg.Connection,
) -> None:
    assert await metrics_of(admin)
    transport = admin._transport  # noqa: SLF001 - the same application, with another key
    key = await make_api_key(conn, "cron")
    async with client_of(transport.app, key) as scraper:  # type: ignore[attr-defined]
        assert await metrics_of(scraper)
    assert_problem(await frontend.get("/metrics"), 403, "forbidden")
    assert_problem(await public.get("/metrics"), 401, "unauthorized")


@pytest.fixture
def someone() -> Iterator[Provider]:
    with provider() as server:
        yield server


@pytest.fixture
async def serving(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[live.LiveServer]:
    """A real server that has handlers."""
    factory = [*live.UVICORN[:-1], "tests.jobs.serving:app_with_posts"]
    monkeypatch.setattr(live, "UVICORN", factory)
    async with live.live_server(dsn) as server:
        yield server


async def hung_up(serving: live.LiveServer, conn: asyncpg.Connection, someone: Provider) -> None:
    """A run has begun, its job waits for a provider, and its caller is gone."""
    await enqueue(conn, "post", {"url": someone.url("hang")})
    asked = asyncio.Event()
    (call,) = begin([Caller(serving, CRON_SECRET).ask_and_hang_up("/cron/process-jobs", once=asked)])
    await someone.until_asked(1)
    asked.set()
    await call
    await until_noticed(serving)
    assert await statuses(conn, "post") == {"processing": 1}


async def test_a_caller_who_hangs_up_ends_no_run(
    serving: live.LiveServer, conn: asyncpg.Connection, someone: Provider
) -> None:
    await hung_up(serving, conn, someone)

    someone.free.set()

    await until(conn, "(SELECT ended_at IS NOT NULL FROM job_runs WHERE caller = 'cron')")
    assert await statuses(conn, "post") == {"processed": 1}
    assert len(someone.keys) == 1


async def test_a_server_that_is_stopped_ends_its_runs_before_it_goes(
    serving: live.LiveServer, conn: asyncpg.Connection, someone: Provider
) -> None:
    await hung_up(serving, conn, someone)

    serving.process.send_signal(signal.SIGTERM)
    await until_logged(serving, "Shutting down")
    someone.free.set()
    await until_logged(serving, "Finished server process")

    assert await statuses(conn, "post") == {"processed": 1}
    assert await conn.fetchval("SELECT ended_at IS NOT NULL FROM job_runs WHERE caller = 'cron'")


async def until_logged(serving: live.LiveServer, words: str) -> None:
    async with asyncio.timeout(20):
        while words not in serving.log:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
