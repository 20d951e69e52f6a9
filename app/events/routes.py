"""/v1/events: follow what happens, or ask what has."""

import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated, Any, NamedTuple

import structlog
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BeforeValidator

from app.database import TROUBLE, Db
from app.errors import Problem, problems
from app.events import queries
from app.events.hub import Follower, Hub
from app.events.schemas import Event, EventPage
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.schemas import EventType
from app.security import CustomerActor, customer_or_frontend

router = APIRouter(prefix="/v1/events", tags=["events"], generate_unique_id_function=operation_id)
logger = structlog.get_logger(__name__)

# Milliseconds that a client waits before it comes back.
RETRY = 2000
# Seconds. A token that is no longer good ends its stream before anything more is told.
RECHECK = 1.0
# Two snapshots with every transaction that was open then.
LONGEST_CURSOR = 16_000
CURSOR = r"^[0-9:,~]*$"

_REFUSALS = ("unauthorized", "forbidden", "validation")


def _split(texts: list[str] | None) -> list[str] | None:
    return None if texts is None else [part for text in texts for part in text.split(",")]


# repeated, or in one with commas between them
Types = Annotated[
    list[EventType] | None,
    BeforeValidator(_split),
    Query(description="Events of these types alone: `booking.created,booking.cancelled`."),
]
After = Annotated[str | None, Query(max_length=LONGEST_CURSOR, pattern=CURSOR, description="The cursor to go on from.")]


async def _wanted(actor: CustomerActor, types: Types = None) -> queries.Wanted:
    return queries.Wanted(types, actor.customer_ref)


WantedEvents = Annotated[queries.Wanted, Depends(_wanted)]


class Beginning(NamedTuple):
    """Who follows which hub, where it begins, and what the database had to tell from there."""

    hub: Hub
    follower: Follower
    cursor: str | None
    batch: queries.Batch


async def _begin(
    request: Request,
    db: Db,
    wanted: WantedEvents,
    after: After = None,
    last_event_id: Annotated[
        str | None, Header(max_length=LONGEST_CURSOR, description="As `after`, and before it: the last `id` you read.")
    ] = None,
) -> AsyncIterator[Beginning]:
    cursor = last_event_id or after or None
    batch = await queries.read_events(db, cursor, wanted)
    hub: Hub = request.app.state.hub
    # left when the stream has ended, however it did
    with hub.follower(wanted) as follower:
        yield Beginning(hub, follower, cursor, batch)


@router.get(
    "",
    response_class=EventSourceResponse,
    summary="Follow events",
    responses=problems(*_REFUSALS),
)
async def stream_events(request: Request, begun: Annotated[Beginning, Depends(_begin)]) -> AsyncIterable[Event]:
    """Every change as it happens, as server-sent events; each once, and those of one subject in order.

    A stream begins now; with the last `id` of an earlier one, where that one ended, and nothing is missing. It ends
    when the server stops and when the token is no longer good: come back with `Last-Event-ID`. A customer with a token
    is told of own bookings alone. `EventSource` cannot send a token: read the stream with `fetch`.
    """
    yield _frame(id=begun.cursor or begun.batch.cursor, retry=RETRY)
    checked_at = time.monotonic()
    try:
        async for step in begun.hub.follow(begun.follower, begun.cursor, begun.batch):
            if time.monotonic() > checked_at + RECHECK:
                await customer_or_frontend.authenticate(request)
                checked_at = time.monotonic()
            if isinstance(step, str):
                yield _frame(id=step, comment="up to date")
            else:
                yield _frame(id=step.cursor, event=step.type, raw_data=step.body)
    except (*TROUBLE, Problem) as error:
        # too late for an answer of another kind; the client comes back and gets it then
        logger.info("a stream of events ended early", error=type(error).__name__)


def _frame(**fields: Any) -> Any:  # noqa: ANN401 - what is sent as it is, whatever the items are declared to be
    return ServerSentEvent(**fields)


@router.get(
    "/page",
    response_model=EventPage,
    summary="List events",
    responses=problems(*_REFUSALS),
)
async def list_events(
    db: Db, wanted: WantedEvents, after: After = None, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> DatabaseJson:
    """What a stream would tell after that cursor, for those who ask from time to time.

    Without `after` it is empty, and answers the cursor to begin with. A cursor is good here and for the stream.
    """
    batch = await queries.read_events(db, after or None, wanted, limit)
    items = ",".join(event.body for event in batch.events)
    has_more = "false" if batch.is_last else "true"
    return DatabaseJson(f'{{"items": [{items}], "next_cursor": "{batch.cursor}", "has_more": {has_more}}}')
