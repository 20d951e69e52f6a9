"""Slots by hand, and what is free."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BeforeValidator

from app.conditions import KnownEtags
from app.database import Db
from app.errors import UNREADABLE, Problem, problems
from app.openapi import operation_id
from app.responses import DatabaseJson, NotModified
from app.schemas import Instant, Timezone
from app.security import AdminActor, Visitor
from app.slots import queries
from app.slots.schemas import Availability, GivenSlots, SlotsCreate, SlotsCreated

router = APIRouter(prefix="/v1", tags=["slots"], generate_unique_id_function=operation_id)

DEFAULT_RANGE = timedelta(days=7)
LONGEST_RANGE = timedelta(days=92)


def _split(texts: list[str]) -> list[str]:
    return [part for text in texts for part in text.split(",")]


# repeated, or in one with commas between them
Ids = Annotated[list[UUID], BeforeValidator(_split)]
Zone = Annotated[Timezone | None, Query(description="The zone of the answer; the resource's, where absent.")]
WantedUnits = Annotated[int, Query(ge=1, le=10_000, description="How many units a booking is to take.")]


@router.post(
    "/resources/{resource_id}/slots",
    status_code=201,
    response_model=SlotsCreated,
    summary="Add slots by hand",
    responses=problems("unauthorized", "forbidden", "resource_not_found", *UNREADABLE),
)
async def add_slots(actor: AdminActor, resource_id: UUID, body: SlotsCreate, db: Db) -> DatabaseJson:
    """Add up to 1000 slots. A slot with the same times is kept as it is, so the call may be repeated."""
    return DatabaseJson(await queries.add_slots(db, actor, resource_id, body), status_code=201)


@router.get(
    "/available-slots",
    response_model=Availability,
    summary="See what is free",
    responses={
        304: {"description": "Nothing has changed since the answer with that ETag."},
        **problems("resource_not_found", "validation"),
    },
)
async def available_slots(
    _visitor: Visitor,
    db: Db,
    known: KnownEtags,
    resource_id: Annotated[Ids, Query(min_length=1, max_length=50, description="Repeat it for several.")],
    starting: Annotated[Instant | None, Query(alias="from", description="Now, where it is absent.")] = None,
    before: Annotated[Instant | None, Query(alias="to", description="7 days after `from`, where absent.")] = None,
    tz: Zone = None,
    units: WantedUnits = 1,
) -> Response:
    """List the slots that start in [`from`, `to`), at most 92 days, each with what is left or why it is not free.

    Several resources of different zones are answered in UTC, unless `tz` says otherwise. Send the ETag back as
    `If-None-Match`, and an answer that has not changed is a 304. A hold whose time is over counts as free.
    """
    starting = starting or datetime.now(UTC)
    before = before or starting + DEFAULT_RANGE
    if not timedelta(0) < before - starting <= LONGEST_RANGE:
        raise Problem("validation", f"`to` must lie after `from`, by at most {LONGEST_RANGE.days} days")
    row = await queries.available_slots(db, list(dict.fromkeys(resource_id)), starting, before, tz, units, known)
    if row["body"] is None:
        return NotModified(row["etag"])
    return DatabaseJson(row["body"], tag=row["etag"])


@router.get(
    "/slots",
    response_model=GivenSlots,
    summary="See whether given slots are free",
    responses=problems("validation"),
)
async def given_slots(
    _visitor: Visitor,
    db: Db,
    ids: Annotated[Ids, Query(min_length=1, max_length=200, description="Repeat it for several.")],
    tz: Zone = None,
    units: WantedUnits = 1,
) -> DatabaseJson:
    """Answer these slots as availability does, legacy ones too (`closed`); ids of no slot are left out."""
    return DatabaseJson(await queries.given_slots(db, ids, tz, units))
