"""Who changed what, when and why."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.audit import queries
from app.audit.schemas import History
from app.database import Db
from app.errors import problems
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.schemas import Instant
from app.security import FrontendActor

AsOf = Annotated[Instant | None, Query(description="What was known at this moment, and how the booking was then.")]

router = APIRouter(prefix="/v1", tags=["audit"], generate_unique_id_function=operation_id)


@router.get(
    "/bookings/{booking_id}/history",
    response_model=History,
    summary="Read a booking's history",
    responses=problems("unauthorized", "forbidden", "booking_not_found", "validation"),
)
async def booking_history(booking_id: UUID, db: Db, _actor: FrontendActor, as_of: AsOf = None) -> DatabaseJson:
    """Every change of one booking, oldest first: before, after, who, from where, and the reason given."""
    return DatabaseJson(await queries.booking_history(db, booking_id, as_of))
