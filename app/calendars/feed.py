"""An iCalendar (RFC 5545) of bookings."""

from collections.abc import Iterable
from typing import Literal

from asyncpg import Record

from app.calendar_event import calendar_event, new_calendar


def resource_calendar(bookings: Iterable[Record]) -> bytes:
    """A resource's bookings, titled by customer."""
    return calendar("Bookings", bookings, "customer")


def customer_calendar(bookings: Iterable[Record]) -> bytes:
    """A customer's bookings, titled by resource."""
    return calendar("My bookings", bookings, "resource_name")


def calendar(name: str, bookings: Iterable[Record], summary: Literal["resource_name", "customer"]) -> bytes:
    """The bookings as one calendar, each event under the booking's id and version, titled by that column.

    A customer who is erased has no name left: then the title is the reference.
    """
    feed = new_calendar()
    feed.add("x-wr-calname", name)
    for booking in bookings:
        feed.add_component(calendar_event(booking, booking[summary] or booking["reference"]))
    return bytes(feed.to_ical())
