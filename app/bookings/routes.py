"""/v1/bookings: take a place, see it, give it back."""

from typing import Annotated
from uuid import UUID

from asyncpg import Record
from fastapi import APIRouter, Depends, Query

from app.bookings import queries
from app.bookings.schemas import (
    Booking,
    BookingCreate,
    BookingPage,
    BookingPayment,
    BookingReschedule,
    Reason,
    Status,
)
from app.conditions import IdempotencyKey, IfMatch
from app.database import Db
from app.errors import UNREADABLE, problems
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.schemas import Instant, Name
from app.security import AdminActor, FrontendActor

router = APIRouter(prefix="/v1/bookings", tags=["bookings"], generate_unique_id_function=operation_id)

REPLAYED = {"Idempotent-Replayed": "true"}


async def _target(booking_id: UUID, version: IfMatch, idempotency_key: IdempotencyKey) -> queries.Target:
    return queries.Target(booking_id, version, idempotency_key)


Target = Annotated[queries.Target, Depends(_target)]


@router.post(
    "",
    status_code=201,
    response_model=Booking,
    summary="Book a slot",
    responses=problems(
        "unauthorized",
        "forbidden",
        "slot_not_found",
        "slot_full",
        "insufficient_units",
        "slot_closed",
        "slot_in_past",
        "idempotency_conflict",
        *UNREADABLE,
        "busy",
        "outcome_unknown",
    ),
)
async def create_booking(
    actor: FrontendActor, body: BookingCreate, idempotency_key: IdempotencyKey, db: Db
) -> DatabaseJson:
    """Take a place in a slot, if it has one.

    `pay_on_arrival` answers a `confirmed` booking; `pay_now` a `pending` one that holds its place until `expires_at`.
    Send an `Idempotency-Key` and repeat the request as often as you need: one booking comes of it, and one answer.
    """
    row = await queries.create_booking(db, actor, body, idempotency_key)
    return _one_booking(row, status_code=201, location=True)


@router.get(
    "",
    response_model=BookingPage,
    summary="List bookings",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_bookings(
    db: Db,
    _actor: FrontendActor,
    status: Status | None = None,
    resource_id: UUID | None = None,
    customer_ref: Name | None = None,
    starting: Annotated[Instant | None, Query(alias="from", description="Starts at or after this.")] = None,
    before: Annotated[Instant | None, Query(alias="to", description="Starts before this.")] = None,
    updated_since: Instant | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> DatabaseJson:
    """List the bookings that pass every given filter, by start."""
    page = await queries.list_bookings(
        db,
        status=status,
        resource_id=resource_id,
        customer_ref=customer_ref,
        starting=starting,
        before=before,
        updated_since=updated_since,
        limit=limit,
        cursor=cursor,
    )
    return DatabaseJson(page)


@router.get(
    "/{booking_id}",
    response_model=Booking,
    summary="Read a booking",
    responses=problems("unauthorized", "forbidden", "booking_not_found", "validation"),
)
async def get_booking(booking_id: UUID, db: Db, _actor: FrontendActor) -> DatabaseJson:
    """Read one booking; its ETag is what `If-Match` takes."""
    return _one_booking(await queries.get_booking(db, booking_id))


_CHANGE_REFUSALS = (
    "unauthorized",
    "forbidden",
    "booking_not_found",
    "version_conflict",
    "precondition_required",
    "invalid_transition",
    "idempotency_conflict",
    *UNREADABLE,
    "busy",
    "outcome_unknown",
)


@router.post(
    "/{booking_id}/cancel",
    response_model=Booking,
    summary="Cancel a booking",
    responses=problems(*_CHANGE_REFUSALS),
)
async def cancel_booking(actor: FrontendActor, target: Target, db: Db, body: Reason | None = None) -> DatabaseJson:
    """Give the place back. Cancelling is final, and the booking stays on record."""
    return _one_booking(await queries.change_booking(db, "cancel_booking", actor, target, body or Reason()))


@router.post(
    "/{booking_id}/reschedule",
    response_model=Booking,
    summary="Move a booking to another slot",
    responses=problems(
        *_CHANGE_REFUSALS,
        "slot_not_found",
        "slot_full",
        "insufficient_units",
        "slot_closed",
        "slot_in_past",
        "hold_expired",
    ),
)
async def reschedule_booking(actor: FrontendActor, target: Target, db: Db, body: BookingReschedule) -> DatabaseJson:
    """Take a place in another slot and give back this one, in one step: same id, same reference, or nothing changes."""
    return _one_booking(await queries.change_booking(db, "reschedule_booking", actor, target, body))


@router.post(
    "/{booking_id}/payment",
    response_model=Booking,
    summary="Record a payment",
    responses=problems(*_CHANGE_REFUSALS, "hold_expired"),
)
async def record_payment(actor: FrontendActor, target: Target, db: Db, body: BookingPayment) -> DatabaseJson:
    """Put on record what the payment came to: `paid` confirms a hold, `failed` ends it, `refunded` follows `paid`.

    Money that comes after the hold ended takes the place again if it is free; if not, the answer is `hold_expired`,
    and the money is to go back.
    """
    return _one_booking(await queries.change_booking(db, "record_payment", actor, target, body))


@router.post(
    "/{booking_id}/confirm",
    response_model=Booking,
    summary="Confirm a hold by hand",
    responses=problems(*_CHANGE_REFUSALS, "hold_expired"),
)
async def confirm_booking(actor: AdminActor, target: Target, db: Db, body: Reason | None = None) -> DatabaseJson:
    """Confirm a pending booking, paid or not."""
    return _one_booking(await queries.change_booking(db, "confirm_booking", actor, target, body or Reason()))


@router.post(
    "/{booking_id}/no-show",
    response_model=Booking,
    summary="Mark a no-show",
    responses=problems(*_CHANGE_REFUSALS, "too_early"),
)
async def mark_no_show(actor: AdminActor, target: Target, db: Db, body: Reason | None = None) -> DatabaseJson:
    """Put on record that nobody came, once the slot has begun."""
    return _one_booking(await queries.change_booking(db, "mark_no_show", actor, target, body or Reason()))


def _one_booking(row: Record, *, status_code: int = 200, location: bool = False) -> DatabaseJson:
    headers = {"Location": f"/v1/bookings/{row['booking_id']}"} if location else {}
    if row.get("replayed"):
        headers |= REPLAYED
    return DatabaseJson(row["body"], status_code=status_code, version=row["booking_version"], headers=headers)
