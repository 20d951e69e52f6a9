"""/v1/bookings: take a place, see it, give it back."""

from typing import Annotated
from uuid import UUID

from asyncpg import Record
from fastapi import APIRouter, Depends, Query

from app.bookings import queries
from app.bookings.schemas import (
    BookingCreate,
    BookingFilters,
    BookingPage,
    BookingPayment,
    BookingReschedule,
    Reason,
)
from app.conditions import REPLAYED, IdempotencyKey, IfMatch
from app.database import Db
from app.errors import UNREADABLE, problems
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.schemas import Booking
from app.security import AdminActor, CustomerActor, FrontendActor

router = APIRouter(prefix="/v1/bookings", tags=["bookings"], generate_unique_id_function=operation_id)


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
        "not_open_yet",
        "too_late",
        "limit_reached",
        "idempotency_conflict",
        *UNREADABLE,
    ),
)
async def create_booking(
    actor: CustomerActor, body: BookingCreate, idempotency_key: IdempotencyKey, db: Db
) -> DatabaseJson:
    """Take a place in a slot, if it has one.

    An admin who gives a `reason` may book where notice, booking window or the limit a customer would forbid it.
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
async def list_bookings(db: Db, actor: CustomerActor, filters: Annotated[BookingFilters, Query()]) -> DatabaseJson:
    """List the bookings that pass every given filter, by start. A customer with a token sees own bookings only."""
    return DatabaseJson(await queries.list_bookings(db, actor, filters))


@router.get(
    "/{booking_id}",
    response_model=Booking,
    summary="Read a booking",
    responses=problems("unauthorized", "forbidden", "booking_not_found", "validation"),
)
async def get_booking(actor: CustomerActor, booking_id: UUID, db: Db) -> DatabaseJson:
    """Read one booking; its ETag is what `If-Match` takes."""
    return _one_booking(await queries.get_booking(db, actor, booking_id))


_CHANGE_REFUSALS = (
    "unauthorized",
    "forbidden",
    "booking_not_found",
    "version_conflict",
    "precondition_required",
    "invalid_transition",
    "idempotency_conflict",
    *UNREADABLE,
)


@router.post(
    "/{booking_id}/cancel",
    response_model=Booking,
    summary="Cancel a booking",
    responses=problems(*_CHANGE_REFUSALS, "too_late"),
)
async def cancel_booking(actor: CustomerActor, target: Target, db: Db, body: Reason | None = None) -> DatabaseJson:
    """Give the place back, before the resource's cut-off. Cancelling is final, and the booking stays on record.

    After the cut-off only an admin may, with a `reason`.
    """
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
        "not_open_yet",
        "too_late",
        "limit_reached",
        "hold_expired",
    ),
)
async def reschedule_booking(actor: CustomerActor, target: Target, db: Db, body: BookingReschedule) -> DatabaseJson:
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
