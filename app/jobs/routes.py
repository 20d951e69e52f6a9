"""/cron/process-jobs: what an external cron calls; /v1/jobs and /v1/job-queues: what a person looks at and touches."""

import asyncio
import json
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from app.database import Db
from app.errors import UNREADABLE, Problem, problems
from app.jobs import queries
from app.jobs.housekeeping import retention_of
from app.jobs.metrics import is_overdue, metrics_of
from app.jobs.processor import process_jobs as run_jobs
from app.jobs.schemas import (
    Heartbeat,
    JobDetail,
    JobFilters,
    JobPage,
    JobStats,
    Queue,
    QueueLimits,
    QueuePause,
    RunReport,
)
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.security import AdminActor, CronActor
from app.settings import Settings
from app.waker import Wake

router = APIRouter(tags=["operations"], generate_unique_id_function=operation_id)

QueueName = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[a-z0-9_.:-]+$", examples=["default"])]

_REFUSALS = ("unauthorized", "forbidden", "validation")


async def process_jobs(request: Request, db: Db, actor: CronActor) -> RunReport:
    """Do the work that is due: complete bookings that are over, expire holds, roll schedules on, run jobs.

    Call it every minute or oftener, from as many places as you like. It works for at most 8 seconds, answers before
    10, and takes `CRON_SECRET` or an API key of scope `cron` as its bearer token.
    """
    # the run is ours: a caller that hangs up ends nothing
    retention = retention_of(request.app.state.settings)
    run = asyncio.create_task(run_jobs(db, actor, request.app.state.handlers, retention))
    runs: set[asyncio.Task[RunReport]] = request.app.state.runs
    runs.add(run)
    run.add_done_callback(runs.discard)
    return await asyncio.shield(run)


# some schedulers can only GET, others only POST; each gets an operation of its own in the API description
for method, operation in (("POST", "process_jobs"), ("GET", "process_jobs_by_get")):
    router.add_api_route(
        "/cron/process-jobs",
        process_jobs,
        methods=[method],
        name=operation,
        summary="Process due jobs",
        responses=problems("unauthorized", "forbidden", "busy", "unavailable", "outcome_unknown"),
    )


@router.get("/readyz/jobs", summary="Is what is due being done?", responses=problems("unavailable", "jobs_overdue"))
async def jobs_readiness(request: Request, db: Db) -> Heartbeat:
    """Answer 503 when due work waits too long, or nobody has come to do it for as long: point your monitoring here.

    It is no part of `/readyz`: a service that a load balancer took out for this could not be called to mend it.
    """
    heartbeat = await queries.jobs_heartbeat(db)
    if is_overdue(dict(heartbeat), _overdue_ms(request)):
        raise Problem("jobs_overdue", facts=dict(heartbeat))
    return Heartbeat(**heartbeat)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    summary="Read the metrics",
    responses=problems("unauthorized", "forbidden"),
)
async def metrics(request: Request, db: Db, _actor: CronActor) -> Response:
    """Answer how the jobs stand, in Prometheus's text format."""
    stats = json.loads(await queries.job_stats(db))
    body = metrics_of(stats, dict(await queries.jobs_heartbeat(db)), _overdue_ms(request))
    return Response(body, media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get(
    "/v1/jobs",
    response_model=JobPage,
    summary="List jobs",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_jobs(_actor: AdminActor, db: Db, filters: Annotated[JobFilters, Query()]) -> DatabaseJson:
    """List the jobs that pass every given filter, in order of creation."""
    return DatabaseJson(await queries.list_jobs(db, filters))


@router.get(
    "/v1/jobs/stats",
    response_model=JobStats,
    summary="See how the jobs stand",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def job_stats(_actor: AdminActor, db: Db) -> DatabaseJson:
    """Count jobs by type and status; say what is due, late and stuck, how the queues stand, and who came when."""
    return DatabaseJson(await queries.job_stats(db))


@router.get(
    "/v1/jobs/{job_id}",
    response_model=JobDetail,
    summary="Read one job",
    responses=problems("unauthorized", "forbidden", "job_not_found", "validation"),
)
async def get_job(_actor: AdminActor, job_id: UUID, db: Db) -> DatabaseJson:
    """Read one job, with every attempt at it."""
    return DatabaseJson(await queries.get_job(db, job_id))


@router.post(
    "/v1/jobs/{job_id}/retry",
    response_model=JobDetail,
    summary="Try a job once more",
    responses=problems(*_REFUSALS, "job_not_found", "invalid_transition"),
)
async def retry_job(actor: AdminActor, job_id: UUID, db: Db, waker: Wake) -> DatabaseJson:
    """Let a job that was discarded, skipped or cancelled be tried once more, at once."""
    body = await queries.retry_job(db, actor, job_id)
    await waker.wake()
    return DatabaseJson(body)


@router.post(
    "/v1/jobs/{job_id}/cancel",
    response_model=JobDetail,
    summary="Cancel a job",
    responses=problems(*_REFUSALS, "job_not_found", "invalid_transition"),
)
async def cancel_job(actor: AdminActor, job_id: UUID, db: Db) -> DatabaseJson:
    """Cancel a job that waits; ask one that runs to stop. What the database does by itself is not cancelled here."""
    return DatabaseJson(await queries.cancel_job(db, actor, job_id))


@router.put(
    "/v1/job-queues/{name}", response_model=Queue, summary="Limit a queue", responses=problems(*_REFUSALS, *UNREADABLE)
)
async def put_queue(actor: AdminActor, name: QueueName, body: QueueLimits, db: Db) -> DatabaseJson:
    """Say how much of a queue may run at once, and how far apart its jobs start."""
    return DatabaseJson(await queries.put_queue(db, actor, name, body))


@router.post(
    "/v1/job-queues/{name}/pause",
    response_model=Queue,
    summary="Pause a queue",
    responses=problems(*_REFUSALS, *UNREADABLE),
)
async def pause_queue(actor: AdminActor, name: QueueName, body: QueuePause, db: Db) -> DatabaseJson:
    """Leave a queue alone for a while, or until it is resumed. What runs goes on."""
    return DatabaseJson(await queries.pause_queue(db, actor, name, body.seconds, body.reason))


@router.post(
    "/v1/job-queues/{name}/resume", response_model=Queue, summary="Resume a queue", responses=problems(*_REFUSALS)
)
async def resume_queue(actor: AdminActor, name: QueueName, db: Db, waker: Wake) -> DatabaseJson:
    """Let jobs of a queue be claimed again. One that is not paused stays as it is."""
    body = await queries.resume_queue(db, actor, name)
    await waker.wake()
    return DatabaseJson(body)


def _overdue_ms(request: Request) -> int:
    settings: Settings = request.app.state.settings
    return settings.jobs_overdue_seconds * 1000
