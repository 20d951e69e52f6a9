"""/v1/crews: who is asked together."""

import json
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.crews import queries
from app.crews.schemas import Crew, CrewCreate, CrewFilters, CrewPage, ListQuery, Member, MemberCreate, MemberPage
from app.database import Db
from app.errors import UNREADABLE, problems
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.security import CustomerActor, FrontendActor
from app.waker import Wake

router = APIRouter(prefix="/v1/crews", tags=["auto-syncs"], generate_unique_id_function=operation_id)


@router.post(
    "",
    status_code=201,
    response_model=Crew,
    summary="Create a crew",
    responses=problems("unauthorized", "forbidden", *UNREADABLE),
)
async def create_crew(actor: FrontendActor, body: CrewCreate, db: Db) -> DatabaseJson:
    """Create a crew. Members are added one by one; its organizer is one only if added too."""
    crew = await queries.create_crew(db, actor, body)
    return DatabaseJson(crew, status_code=201, headers={"Location": f"/v1/crews/{json.loads(crew)['id']}"})


@router.get(
    "",
    response_model=CrewPage,
    summary="List crews",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_crews(actor: CustomerActor, db: Db, filters: Annotated[CrewFilters, Query()]) -> DatabaseJson:
    """List crews in order of creation; a customer's are those they organize or are a member of."""
    return DatabaseJson(await queries.list_crews(db, actor, filters))


@router.get(
    "/{crew_id}",
    response_model=Crew,
    summary="Read a crew",
    responses=problems("unauthorized", "forbidden", "crew_not_found", "validation"),
)
async def get_crew(actor: CustomerActor, crew_id: UUID, db: Db) -> DatabaseJson:
    """Read one crew."""
    return DatabaseJson(await queries.get_crew(db, actor, crew_id))


@router.get(
    "/{crew_id}/members",
    response_model=MemberPage,
    summary="List a crew's members",
    responses=problems("unauthorized", "forbidden", "crew_not_found", "validation"),
)
async def list_crew_members(
    actor: CustomerActor, crew_id: UUID, db: Db, page: Annotated[ListQuery, Query()]
) -> DatabaseJson:
    """List who is in the crew, in the order in which they joined."""
    return DatabaseJson(await queries.list_crew_members(db, actor, crew_id, page))


@router.post(
    "/{crew_id}/members",
    status_code=201,
    response_model=Member,
    summary="Add a member to a crew",
    responses=problems("unauthorized", "forbidden", "crew_not_found", *UNREADABLE),
)
async def add_crew_member(actor: FrontendActor, crew_id: UUID, body: MemberCreate, db: Db, waker: Wake) -> DatabaseJson:
    """Add a member, who is asked from now on: also by each of the crew's auto-syncs that is not over.

    It is a customer, as of a booking: what is given replaces what was known. Twice is once.
    """
    member = await queries.add_crew_member(db, actor, crew_id, body)
    await waker.wake()
    return DatabaseJson(member, status_code=201)


@router.delete(
    "/{crew_id}/members/{member_id}",
    response_model=Member,
    summary="Remove a member from a crew",
    responses=problems(
        "unauthorized",
        "forbidden",
        "crew_not_found",
        "crew_member_not_found",
        "validation",
    ),
)
async def remove_crew_member(actor: CustomerActor, crew_id: UUID, member_id: UUID, db: Db, waker: Wake) -> DatabaseJson:
    """Remove a member: for a customer with a token, its organizer, or the member.

    No auto-sync waits for their answer any more; one that waited for nobody else completes.
    """
    member = await queries.remove_crew_member(db, actor, crew_id, member_id)
    await waker.wake()
    return DatabaseJson(member)
