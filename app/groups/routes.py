"""/v1/bookings/batch and /recurring: several bookings in one step."""

from asyncpg import Record
from fastapi import APIRouter

from app.conditions import REPLAYED, IdempotencyKey
from app.database import Db
from app.errors import UNREADABLE, problems
from app.groups import queries
from app.groups.schemas import Batch, BatchCreate, RecurringCreate, Series
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.security import CustomerActor

router = APIRouter(prefix="/v1/bookings", tags=["bookings"], generate_unique_id_function=operation_id)

_REFUSALS = problems(
    "unauthorized",
    "forbidden",
    "slot_not_found",
    "slot_full",
    "insufficient_units",
    "slot_closed",
    "slot_in_past",
    "not_open_yet",
    "too_late",
    "limit_reached",
    "idempotency_conflict",
    *UNREADABLE,
)


@router.post("/batch", status_code=201, response_model=Batch, summary="Book several slots", responses=_REFUSALS)
async def create_bookings(
    actor: CustomerActor, body: BatchCreate, idempotency_key: IdempotencyKey, db: Db
) -> DatabaseJson:
    """Take up to 100 places in one step: all of them, or none.

    Several items may name one slot; what they ask of it is summed before it is compared with what is left.
    """
    return _group(await queries.create_bookings(db, actor, body, idempotency_key))


@router.post(
    "/recurring", status_code=201, response_model=Series, summary="Book a slot again and again", responses=_REFUSALS
)
async def create_recurring_bookings(
    actor: CustomerActor, body: RecurringCreate, idempotency_key: IdempotencyKey, db: Db
) -> DatabaseJson:
    """Book the same wall-clock time of a resource every so many days or weeks, and report on each occurrence.

    An occurrence without a slot, such as a closed day or an hour that the clocks skip, counts as `slot_not_found`.
    """
    return _group(await queries.create_recurring_bookings(db, actor, body, idempotency_key))


def _group(row: Record) -> DatabaseJson:
    return DatabaseJson(row["body"], status_code=201, headers=REPLAYED if row["replayed"] else None)
