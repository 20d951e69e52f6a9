"""/v1/resources/{id}/schedule: rules that make slots, and change without losing a booking."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from app.database import Db
from app.errors import UNREADABLE, problems
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.schedules import queries
from app.schedules.schemas import ExceptionHours, Schedule, SchedulePlan, ScheduleRules
from app.security import AdminActor, Visitor
from app.waker import Wake

router = APIRouter(prefix="/v1/resources/{resource_id}", tags=["schedules"], generate_unique_id_function=operation_id)

DryRun = Annotated[bool, Query(description="Answer the plan and change nothing.")]
Day = Annotated[date, Path(alias="date", ge=date(2000, 1, 1), lt=date(2200, 1, 1), examples=["2030-12-25"])]

_REFUSALS = ("unauthorized", "forbidden", "resource_not_found", "invalid_hours", *UNREADABLE)


@router.put(
    "/schedule",
    response_model=SchedulePlan,
    summary="Set the rules that make slots",
    responses=problems(*_REFUSALS),
)
async def put_schedule(
    actor: AdminActor, resource_id: UUID, body: ScheduleRules, db: Db, waker: Wake, dry_run: DryRun = False
) -> DatabaseJson:
    """Replace the rules of a resource, and bring its coming slots in line with them.

    No booking is lost: a slot with bookings that no longer fits becomes legacy, limits shrink only to what is booked,
    and where bookings on legacy slots still need the time, no new slot is made. The answer is the plan; with `dry_run`
    the same plan and nothing done. The same rules again change nothing; the old rules put things back.
    """
    plan = await queries.put_schedule(db, actor, resource_id, body, dry_run=dry_run)
    # prebookings may be open by these rules
    await waker.wake()
    return DatabaseJson(plan)


@router.get(
    "/schedule",
    response_model=Schedule,
    summary="Read the rules of a resource",
    responses=problems("resource_not_found", "schedule_not_found", "validation"),
)
async def get_schedule(_visitor: Visitor, resource_id: UUID, db: Db) -> DatabaseJson:
    """Read the rules, with the exceptions from today on. Needs no token."""
    row = await queries.get_schedule(db, resource_id)
    return DatabaseJson(row["body"], version=row["schedule_version"])


@router.put(
    "/exceptions/{date}",
    response_model=SchedulePlan,
    summary="Close a date, or give it hours of its own",
    responses=problems(*_REFUSALS, "schedule_not_found"),
)
async def put_exception(
    actor: AdminActor, resource_id: UUID, day: Day, body: ExceptionHours, db: Db, dry_run: DryRun = False
) -> DatabaseJson:
    """Give a date its own hours, or none, instead of the weekly ones. Slots by hand are left alone."""
    return DatabaseJson(await queries.put_exception(db, actor, resource_id, day, body, dry_run=dry_run))


@router.delete(
    "/exceptions/{date}",
    response_model=SchedulePlan,
    summary="Put a date's weekly hours back",
    responses=problems("unauthorized", "forbidden", "resource_not_found", "schedule_not_found", "validation"),
)
async def delete_exception(
    actor: AdminActor, resource_id: UUID, day: Day, db: Db, dry_run: DryRun = False
) -> DatabaseJson:
    """Let a date have the weekly hours again. One that has no exception stays as it is."""
    return DatabaseJson(await queries.put_exception(db, actor, resource_id, day, None, dry_run=dry_run))
