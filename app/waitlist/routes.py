"""/v1/waitlist: stand in line for a slot, and take the place that comes free."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.database import Db
from app.errors import UNREADABLE, problems
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.schemas import Booking
from app.security import CustomerActor
from app.waitlist import queries
from app.waitlist.schemas import WaitlistEntry, WaitlistFilters, WaitlistJoin, WaitlistPage

router = APIRouter(prefix="/v1/waitlist", tags=["waitlist"], generate_unique_id_function=operation_id)

_CHANGE_REFUSALS = (
    "unauthorized",
    "forbidden",
    "waitlist_entry_not_found",
    "version_conflict",
    "invalid_transition",
    "validation",
)


@router.post(
    "",
    status_code=201,
    response_model=WaitlistEntry,
    summary="Stand in line for a slot",
    responses=problems(
        "unauthorized",
        "forbidden",
        "slot_not_found",
        "slot_closed",
        "slot_in_past",
        "not_open_yet",
        "too_late",
        "limit_reached",
        *UNREADABLE,
    ),
)
async def join_waitlist(actor: CustomerActor, body: WaitlistJoin, db: Db) -> DatabaseJson:
    """Join the line of a slot; a customer with a `ref` stands in it once, however often this is called.

    A place that comes free goes to the first in line whom it would hold: a real booking, `pending` until `expires_at`.
    No newcomer gets in between. Where there is room already, the answer is such an offer.
    """
    row = await queries.join_waitlist(db, actor, body)
    return DatabaseJson(row["body"], status_code=201, headers={"Location": f"/v1/waitlist/{row['entry_id']}"})


@router.get(
    "",
    response_model=WaitlistPage,
    summary="List places in line",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_waitlist(actor: CustomerActor, db: Db, filters: Annotated[WaitlistFilters, Query()]) -> DatabaseJson:
    """List the places in line that pass every given filter, in order of joining."""
    return DatabaseJson(await queries.list_waitlist(db, actor, filters))


@router.get(
    "/{entry_id}",
    response_model=WaitlistEntry,
    summary="Read a place in line",
    responses=problems("unauthorized", "forbidden", "waitlist_entry_not_found", "validation"),
)
async def get_waitlist_entry(actor: CustomerActor, entry_id: UUID, db: Db) -> DatabaseJson:
    """Read one place in line: how many are ahead, or what is offered until when."""
    return DatabaseJson(await queries.get_waitlist_entry(db, actor, entry_id))


@router.post(
    "/{entry_id}/accept",
    response_model=Booking,
    summary="Accept an offered place",
    responses=problems(*_CHANGE_REFUSALS, "booking_not_found", "hold_expired", "limit_reached"),
)
async def accept_offer(actor: CustomerActor, entry_id: UUID, db: Db) -> DatabaseJson:
    """Confirm the booking that is offered. One with `pay_now` is accepted by paying for it instead."""
    row = await queries.accept_offer(db, actor, entry_id)
    return DatabaseJson(row["body"], version=row["booking_version"])


@router.post(
    "/{entry_id}/leave",
    response_model=WaitlistEntry,
    summary="Leave the line",
    responses=problems(*_CHANGE_REFUSALS),
)
async def leave_waitlist(actor: CustomerActor, entry_id: UUID, db: Db) -> DatabaseJson:
    """Give up a place in line, or the place that is offered: it goes to the next."""
    return DatabaseJson(await queries.leave_waitlist(db, actor, entry_id))
