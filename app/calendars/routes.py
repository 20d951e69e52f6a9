"""The .ics calendars of a resource and of a customer, and the feeds at which calendar apps subscribe to them."""

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request

from app.calendars import feed, queries
from app.calendars.pages import ICalendar
from app.calendars.pages import router as pages
from app.calendars.schemas import CalendarFeeds, NewCalendarFeed
from app.customer import require_own
from app.database import Database, Db
from app.errors import Problem, problems
from app.links import public_address
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.schemas import Name
from app.security import Actor, AdminActor, CustomerActor

router = APIRouter(prefix="/v1", tags=["calendars"], generate_unique_id_function=operation_id)

NOT_KEPT = {"Cache-Control": "no-store"}
Ref = Annotated[Name, Path()]

_OF_RESOURCE = ("unauthorized", "forbidden", "resource_not_found", "validation")
_OF_CUSTOMER = ("unauthorized", "forbidden", "validation", "not_found")
_MAKING = ("too_many_feeds", "not_configured")


def _responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "The calendar.", "content": {"text/calendar": {"schema": {"type": "string"}}}}} | (
        problems(*codes)
    )


@router.get(
    "/resources/{resource_id}/calendar.ics",
    response_class=ICalendar,
    summary="A resource's bookings as a calendar",
    responses=_responses(*_OF_RESOURCE),
)
async def resource_calendar(_actor: AdminActor, resource_id: UUID, db: Db) -> ICalendar:
    """The bookings of a resource from a month ago on, titled by customer; cancelled ones as such."""
    bookings = await queries.calendar_bookings(db, resource_id=resource_id)
    return ICalendar(feed.resource_calendar(bookings), headers=NOT_KEPT)


@router.get(
    "/customers/{ref}/calendar.ics",
    response_class=ICalendar,
    summary="A customer's bookings as a calendar",
    responses=_responses(*_OF_CUSTOMER),
)
async def customer_calendar(actor: CustomerActor, ref: Ref, db: Db) -> ICalendar:
    """The bookings of a customer from a month ago on, titled by resource; cancelled ones as such."""
    require_own(actor, ref)
    bookings = await queries.calendar_bookings(db, customer_ref=ref)
    return ICalendar(feed.customer_calendar(bookings), headers=NOT_KEPT)


@router.post(
    "/resources/{resource_id}/calendar-feeds",
    status_code=201,
    response_model=NewCalendarFeed,
    summary="Make a secret address of a resource's calendar",
    responses=problems(*_OF_RESOURCE, *_MAKING),
)
async def create_resource_calendar_feed(actor: AdminActor, resource_id: UUID, request: Request, db: Db) -> DatabaseJson:
    """Make an address at which calendar apps read the resource's calendar, which names its customers.

    The answer holds it, this once; a repeated request makes another.
    """
    return await _created(request, db, actor, resource_id=resource_id)


@router.get(
    "/resources/{resource_id}/calendar-feeds",
    response_model=CalendarFeeds,
    summary="List a resource's calendar feeds",
    responses=problems(*_OF_RESOURCE),
)
async def list_resource_calendar_feeds(_actor: AdminActor, resource_id: UUID, db: Db) -> DatabaseJson:
    """List the secret addresses that open something, in order of creation; never an address itself."""
    return DatabaseJson(await queries.list_calendar_feeds(db, resource_id=resource_id))


@router.post(
    "/customers/{ref}/calendar-feeds",
    status_code=201,
    response_model=NewCalendarFeed,
    summary="Make a secret address of a customer's calendar",
    responses=problems(*_OF_CUSTOMER, *_MAKING),
)
async def create_customer_calendar_feed(actor: CustomerActor, ref: Ref, request: Request, db: Db) -> DatabaseJson:
    """Make an address at which calendar apps read the customer's calendar.

    The answer holds it, this once; a repeated request makes another.
    """
    require_own(actor, ref)
    return await _created(request, db, actor, customer_ref=ref)


@router.get(
    "/customers/{ref}/calendar-feeds",
    response_model=CalendarFeeds,
    summary="List a customer's calendar feeds",
    responses=problems(*_OF_CUSTOMER),
)
async def list_customer_calendar_feeds(actor: CustomerActor, ref: Ref, db: Db) -> DatabaseJson:
    """List the secret addresses that open something, in order of creation; never an address itself."""
    require_own(actor, ref)
    return DatabaseJson(await queries.list_calendar_feeds(db, customer_ref=ref))


@router.delete(
    "/calendar-feeds/{feed_id}",
    status_code=204,
    summary="Revoke a calendar feed",
    responses=problems(*_OF_CUSTOMER),
)
async def revoke_calendar_feed(actor: CustomerActor, feed_id: UUID, db: Db) -> None:
    """End a secret address at once. A resource's takes an admin; what calendar apps have read, they have."""
    if not await queries.revoke_calendar_feed(db, actor, feed_id):
        raise Problem("not_found")


async def _created(request: Request, db: Database, actor: Actor, **whose: Any) -> DatabaseJson:  # noqa: ANN401
    settings = request.app.state.settings
    if settings.public_url is None:
        raise Problem("not_configured", "PUBLIC_URL is not set.")
    new = await queries.create_calendar_feed(db, actor, **whose)
    url = public_address(settings, f"/calendars/{new.token}.ics")
    return DatabaseJson(json.dumps(json.loads(new.body) | {"url": url}), status_code=201)


router.routes.extend(pages.routes)
