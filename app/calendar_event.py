"""A booking as an iCalendar (RFC 5545) event, the same in a feed and beside a message."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from asyncpg import Record
from icalendar import Calendar, Event

STATUSES = {"pending": "TENTATIVE", "cancelled": "CANCELLED", "failed": "CANCELLED", "expired": "CANCELLED"}


def new_calendar() -> Calendar:
    """A calendar of ours without events."""
    calendar = Calendar()
    calendar.add("prodid", "-//Holdfast//Bookings//EN")
    calendar.add("version", "2.0")
    return calendar


def calendar_event(booking: Record | Mapping[str, Any], summary: str) -> Event:
    """The booking under its `booking_id` and `version`, so that a later one replaces it; `summary` is its title."""
    event = Event()
    event.add("uid", f"{booking['booking_id']}@holdfast")
    event.add("sequence", booking["version"])
    event.add("dtstart", booking["starts_at"].astimezone(UTC))
    event.add("dtend", booking["ends_at"].astimezone(UTC))
    event.add("dtstamp", booking["updated_at"].astimezone(UTC))
    event.add("created", booking["created_at"].astimezone(UTC))
    event.add("last-modified", booking["updated_at"].astimezone(UTC))
    event.add("status", STATUSES.get(booking["status"], "CONFIRMED"))
    event.add("summary", summary)
    event.add("description", f"{booking['reference']}, {booking['status']}, units: {booking['units']}")
    return event
