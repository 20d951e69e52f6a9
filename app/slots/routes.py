"""Slots by hand, and what is free."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.database import Db
from app.errors import UNREADABLE, Problem, problems
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.schemas import Instant, Timezone
from app.security import AdminActor
from app.slots import queries
from app.slots.schemas import Availability, SlotsCreate, SlotsCreated

router = APIRouter(prefix="/v1", tags=["slots"], generate_unique_id_function=operation_id)

DEFAULT_RANGE = timedelta(days=7)
LONGEST_RANGE = timedelta(days=92)


@router.post(
    "/resources/{resource_id}/slots",
    status_code=201,
    response_model=SlotsCreated,
    summary="Add slots by hand",
    responses=problems("unauthorized", "forbidden", "resource_not_found", *UNREADABLE),
)
async def add_slots(actor: AdminActor, resource_id: UUID, body: SlotsCreate, db: Db) -> DatabaseJson:
    """Add up to 1000 slots. A slot with the same times is kept as it is, so the call may be repeated."""
    return DatabaseJson(await queries.add_slots(db, actor, resource_id, body), status_code=201)


@router.get(
    "/available-slots",
    response_model=Availability,
    summary="See what is free",
    responses=problems("resource_not_found", "validation"),
)
async def available_slots(
    db: Db,
    resource_id: UUID,
    starting: Annotated[Instant | None, Query(alias="from", description="Now, where it is absent.")] = None,
    before: Annotated[Instant | None, Query(alias="to", description="7 days after `from`, where absent.")] = None,
    tz: Annotated[Timezone | None, Query(description="The zone of the answer; the resource's, where absent.")] = None,
    units: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> DatabaseJson:
    """List the slots that start in [`from`, `to`), at most 92 days, each with what is left or why it is not free."""
    starting = starting or datetime.now(UTC)
    before = before or starting + DEFAULT_RANGE
    if not timedelta(0) < before - starting <= LONGEST_RANGE:
        raise Problem("validation", f"`to` must lie after `from`, by at most {LONGEST_RANGE.days} days")
    return DatabaseJson(await queries.available_slots(db, resource_id, starting, before, tz, units))
