"""An iCalendar (RFC 5545) of bookings."""

from collections.abc import Iterable
from typing import Literal

from asyncpg import Record

from app.calendar_event import calendar_event, new_calendar


def calendar(name: str, bookings: Iterable[Record], summary: Literal["resource_name", "customer"]) -> bytes:
    """The bookings as one calendar, each event under the booking's id and version, titled by that column."""
    feed = new_calendar()
    feed.add("x-wr-calname", name)
    for booking in bookings:
        feed.add_component(calendar_event(booking, booking[summary]))
    return bytes(feed.to_ical())
