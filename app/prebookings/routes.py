"""/v1/prebookings: book at the instant at which booking opens."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from app.conditions import REPLAYED, IdempotencyKey
from app.database import Db
from app.errors import UNREADABLE, problems
from app.keys import require_keys
from app.openapi import operation_id
from app.prebookings import queries
from app.prebookings.schemas import (
    Prebooking,
    PrebookingCancel,
    PrebookingCreate,
    PrebookingFilters,
    PrebookingPage,
)
from app.responses import DatabaseJson
from app.security import CustomerActor
from app.waker import Wake

router = APIRouter(prefix="/v1/prebookings", tags=["prebookings"], generate_unique_id_function=operation_id)


@router.post(
    "",
    status_code=201,
    response_model=Prebooking,
    summary="Book when booking opens",
    responses=problems(
        "unauthorized",
        "forbidden",
        "resource_not_found",
        "provider_not_found",
        "already_prebooked",
        "idempotency_conflict",
        "invalid_target",
        "encryption_unavailable",
        *UNREADABLE,
    ),
)
async def create_prebooking(
    actor: CustomerActor, body: PrebookingCreate, idempotency_key: IdempotencyKey, db: Db, waker: Wake, request: Request
) -> DatabaseJson:
    """Have it booked when booking opens for it; where it is open, at once.

    At a resource, prebookings of one opening get their places in the order in which they were made (or were drawn),
    before any newcomer. At a provider, the request leaves at the instant, with the customer's stored credentials.
    """
    if body.provider is not None:
        require_keys(request)
    row = await queries.create_prebooking(db, actor, body, idempotency_key)
    await waker.wake()
    headers = {"Location": f"/v1/prebookings/{row['prebooking_id']}"} | (REPLAYED if row["replayed"] else {})
    return DatabaseJson(row["body"], status_code=201, headers=headers)


@router.get(
    "",
    response_model=PrebookingPage,
    summary="List prebookings",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_prebookings(
    actor: CustomerActor, db: Db, filters: Annotated[PrebookingFilters, Query()]
) -> DatabaseJson:
    """List the prebookings that pass every given filter, in order of creation."""
    return DatabaseJson(await queries.list_prebookings(db, actor, filters))


@router.get(
    "/{prebooking_id}",
    response_model=Prebooking,
    summary="Read a prebooking",
    responses=problems("unauthorized", "forbidden", "prebooking_not_found", "validation"),
)
async def get_prebooking(actor: CustomerActor, prebooking_id: UUID, db: Db) -> DatabaseJson:
    """Read one prebooking: when it fires, or what came of it."""
    return DatabaseJson(await queries.get_prebooking(db, actor, prebooking_id))


@router.post(
    "/{prebooking_id}/cancel",
    response_model=Prebooking,
    summary="Cancel a prebooking",
    responses=problems(
        "unauthorized",
        "forbidden",
        "prebooking_not_found",
        "invalid_transition",
        *UNREADABLE,
    ),
)
async def cancel_prebooking(actor: CustomerActor, prebooking_id: UUID, body: PrebookingCancel, db: Db) -> DatabaseJson:
    """Give it up, while it has not fired. Cancelling twice is once."""
    return DatabaseJson(await queries.cancel_prebooking(db, actor, prebooking_id, body))
