"""Calendar feeds as those who make them see them."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field


class CalendarFeed(BaseModel):
    """That there is a secret address; it is seen when it is made, and never again."""

    id: UUID
    created_at: datetime


class CalendarFeeds(BaseModel):
    """Every feed that is not revoked, in order of creation."""

    items: list[CalendarFeed]


class NewCalendarFeed(CalendarFeed):
    """A new feed, with the address that no other call answers."""

    url: str = Field(
        description="Give it to a calendar app to subscribe to. Whoever has it reads the calendar. Shown this once.",
        examples=["https://book.example.com/calendars/….ics"],
    )
