"""The .ics feeds of a resource and of a customer."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.calendars import queries
from app.calendars.feed import calendar
from app.database import Db
from app.errors import Problem, problems
from app.openapi import operation_id
from app.schemas import Name
from app.security import AdminActor, CustomerActor

router = APIRouter(prefix="/v1", tags=["calendars"], generate_unique_id_function=operation_id)

NOT_KEPT = {"Cache-Control": "no-store"}


class ICalendar(Response):
    """An iCalendar as a response."""

    media_type = "text/calendar"


def _responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "The calendar.", "content": {"text/calendar": {"schema": {"type": "string"}}}}} | (
        problems(*codes)
    )


@router.get(
    "/resources/{resource_id}/calendar.ics",
    response_class=ICalendar,
    summary="A resource's bookings as a calendar",
    responses=_responses("unauthorized", "forbidden", "resource_not_found", "validation"),
)
async def resource_calendar(_actor: AdminActor, resource_id: UUID, db: Db) -> ICalendar:
    """The bookings of a resource from a month ago on, titled by customer; cancelled ones as such."""
    bookings = await queries.calendar_bookings(db, resource_id=resource_id)
    return ICalendar(calendar("Bookings", bookings, "customer"), headers=NOT_KEPT)


@router.get(
    "/customers/{ref}/calendar.ics",
    response_class=ICalendar,
    summary="A customer's bookings as a calendar",
    responses=_responses("unauthorized", "forbidden", "validation", "not_found"),
)
async def customer_calendar(actor: CustomerActor, ref: Annotated[Name, Path()], db: Db) -> ICalendar:
    """The bookings of a customer from a month ago on, titled by resource; cancelled ones as such."""
    if actor.customer_ref not in (None, ref):
        raise Problem("not_found")
    bookings = await queries.calendar_bookings(db, customer_ref=ref)
    return ICalendar(calendar("My bookings", bookings, "resource_name"), headers=NOT_KEPT)
