"""/calendars/{token}.ics: whoever has the secret address of a feed reads the calendar, as calendar apps do."""

from fastapi import APIRouter, Request, Response

from app.calendars import queries
from app.calendars.feed import customer_calendar, resource_calendar
from app.conditions import KnownEtags, etag
from app.database import Db
from app.errors import Problem
from app.security import Visitor, count_failure

# addresses are handed out whole: no part of the API's description
router = APIRouter(prefix="/calendars", include_in_schema=False)

HEADERS = {
    "Cache-Control": "private, no-cache",
    # the address is the key
    "X-Robots-Tag": "noindex, nofollow",
}


class ICalendar(Response):
    """An iCalendar as a response."""

    media_type = "text/calendar"


@router.get("/{token}.ics")
async def read_calendar_feed(_visitor: Visitor, token: str, request: Request, known: KnownEtags, db: Db) -> Response:
    """The calendar as its bearer reads it elsewhere, or that it has not changed."""
    feed = await queries.read_calendar_feed(db, token, known)
    if feed is None:
        count_failure(request)
        raise Problem("not_found")
    headers = HEADERS | {"ETag": etag(feed.etag)}
    if feed.etag in known:
        return Response(None, 304, headers)
    calendar_of = resource_calendar if feed.is_of_resource else customer_calendar
    return ICalendar(calendar_of(feed.bookings), headers=headers)
