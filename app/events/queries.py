"""One call a function of sql/: events."""

from collections.abc import Sequence
from typing import NamedTuple

from app.database import Database
from app.schemas import EventType

PAGE = 500


class Told(NamedTuple):
    """An event as it goes out, and the cursor after it."""

    cursor: str
    type: str
    customer_ref: str | None
    body: str


class Batch(NamedTuple):
    """Some events, the cursor after them, and whether that is the end of a round: more than these there were not."""

    events: list[Told]
    cursor: str

    @property
    def is_last(self) -> bool:
        """Whether the cursor stands between two rounds."""
        return is_whole(self.cursor)


class Wanted(NamedTuple):
    """Which events a follower is told: of these types, or all; of that customer alone, or of everybody."""

    types: Sequence[EventType] | None = None
    customer_ref: str | None = None

    def __contains__(self, event: object) -> bool:
        return (
            isinstance(event, Told)
            and (self.types is None or event.type in self.types)
            and self.customer_ref in (None, event.customer_ref)
        )


EVERYTHING = Wanted()


def is_whole(cursor: str) -> bool:
    """Whether a cursor stands between two rounds, and not within one."""
    return "~" not in cursor


def round_between(cursor: str, later: str) -> str:
    """The beginning of the round that leads from one whole cursor to another."""
    return f"{cursor}~{later}"


async def read_events(db: Database, cursor: str | None, wanted: Wanted = EVERYTHING, limit: int = PAGE) -> Batch:
    """What comes after the cursor, of `limit` events at most those that are wanted; without a cursor, none.

    Raises asyncpg.DataError for text that is no cursor of this database.
    """
    *events, end = await db.call(
        "read_events",
        p_cursor=cursor,
        p_types=wanted.types,
        p_customer_ref=wanted.customer_ref,
        p_limit=limit,
    )
    return Batch([Told(*event) for event in events], end["event_cursor"])
