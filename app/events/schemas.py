"""Events as clients see them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.schemas import EventType


class Subject(BaseModel):
    """What an event is about."""

    type: str = Field(examples=["booking"])
    id: str


class Event(BaseModel):
    """One change, with its subject as it was right after it."""

    id: str = Field(examples=["evt_4711"], description="The same wherever and however often the event is told.")
    type: EventType
    created_at: datetime
    sequence: int = Field(
        description="Grows with each event of a subject; of a booking, prebooking or auto-sync it is the `version`."
    )
    subject: Subject
    data: dict[str, Any] = Field(
        description="A booking or prebooking as `GET` answers it, an auto-sync as a list does; else its row."
    )


class EventPage(BaseModel):
    """Some events, in the order in which a stream would have told them."""

    items: list[Event]
    next_cursor: str = Field(description="Pass as `after` for what comes next; there is one even if nothing has come.")
    has_more: bool = Field(description="Whether there is more already. A page may be empty and still have more.")
