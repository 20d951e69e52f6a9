"""One call a function of sql/: schedules."""

from datetime import date
from uuid import UUID

from asyncpg import Record

from app.database import Database
from app.schedules.schemas import ExceptionHours, ScheduleRules
from app.security import Actor


async def put_schedule(db: Database, actor: Actor, resource_id: UUID, body: ScheduleRules, *, dry_run: bool) -> str:
    """The plan that these rules amount to, as JSON, carried out unless it is a dry run.

    Raises resource_not_found, invalid_hours.
    """
    return str(
        await db.call_value(
            "put_schedule",
            p_actor=actor.json(),
            p_resource_id=resource_id,
            p_rules=body.model_dump(mode="json"),
            p_dry_run=dry_run,
        )
    )


async def get_schedule(db: Database, resource_id: UUID) -> Record:
    """The rules of a resource: `schedule_version, body`. Raises resource_not_found, schedule_not_found."""
    return await db.call_row("get_schedule", p_resource_id=resource_id)


async def put_exception(
    db: Database, actor: Actor, resource_id: UUID, day: date, body: ExceptionHours | None, *, dry_run: bool
) -> str:
    """The plan that this date's own hours amount to, as JSON; without a body it has the weekly ones again.

    Raises resource_not_found, schedule_not_found, invalid_hours.
    """
    hours = None if body is None else [entry.model_dump() for entry in body.hours or []]
    return str(
        await db.call_value(
            "put_exception",
            p_actor=actor.json(),
            p_resource_id=resource_id,
            p_date=day,
            p_hours=hours,
            p_dry_run=dry_run,
        )
    )
