"""An iCalendar (RFC 5545) of bookings."""

from collections.abc import Iterable
from datetime import UTC
from typing import Literal

from asyncpg import Record
from icalendar import Calendar, Event

STATUSES = {"pending": "TENTATIVE", "cancelled": "CANCELLED", "failed": "CANCELLED", "expired": "CANCELLED"}


def calendar(name: str, bookings: Iterable[Record], summary: Literal["resource_name", "customer"]) -> bytes:
    """The bookings as one calendar, each event under the booking's id and version, titled by that column."""
    feed = Calendar()
    feed.add("prodid", "-//Holdfast//Bookings//EN")
    feed.add("version", "2.0")
    feed.add("x-wr-calname", name)
    for booking in bookings:
        feed.add_component(_event(booking, summary))
    return bytes(feed.to_ical())


def _event(booking: Record, summary: str) -> Event:
    event = Event()
    event.add("uid", f"{booking['booking_id']}@holdfast")
    event.add("sequence", booking["version"])
    event.add("dtstart", booking["starts_at"].astimezone(UTC))
    event.add("dtend", booking["ends_at"].astimezone(UTC))
    event.add("dtstamp", booking["updated_at"].astimezone(UTC))
    event.add("created", booking["created_at"].astimezone(UTC))
    event.add("last-modified", booking["updated_at"].astimezone(UTC))
    event.add("status", STATUSES.get(booking["status"], "CONFIRMED"))
    event.add("summary", booking[summary])
    event.add("description", f"{booking['reference']}, {booking['status']}, units: {booking['units']}")
    return event
