"""/cron/process-jobs: what an external cron calls."""

from fastapi import APIRouter

from app.database import Db
from app.errors import problems
from app.jobs.processor import process_jobs as run_jobs
from app.jobs.schemas import RunReport
from app.openapi import operation_id
from app.security import CronActor

router = APIRouter(tags=["operations"], generate_unique_id_function=operation_id)


async def process_jobs(db: Db, actor: CronActor) -> RunReport:
    """Do the work that is due: complete bookings that are over, expire holds, roll schedules on.

    Call it every minute or oftener, from as many places as you like. It works for at most 8 seconds, answers before
    10, and takes `CRON_SECRET` or an API key of scope `cron` as its bearer token.
    """
    return await run_jobs(db, actor)


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
