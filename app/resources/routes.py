"""/v1/resources: what can be booked."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.conditions import IfMatch
from app.database import Db
from app.errors import UNREADABLE, problems
from app.openapi import operation_id
from app.resources import queries
from app.resources.schemas import Resource, ResourceCreate, ResourcePage, ResourceUpdate
from app.responses import DatabaseJson
from app.security import AdminActor, Visitor
from app.waker import Wake

router = APIRouter(prefix="/v1/resources", tags=["resources"], generate_unique_id_function=operation_id)


@router.post(
    "",
    status_code=201,
    response_model=Resource,
    summary="Add a resource",
    responses=problems("unauthorized", "forbidden", *UNREADABLE),
)
async def create_resource(actor: AdminActor, body: ResourceCreate, db: Db) -> DatabaseJson:
    """Add something that can be booked. Its time zone decides what its local hours mean."""
    row = await queries.create_resource(db, actor, body)
    return DatabaseJson(
        row["body"],
        status_code=201,
        version=row["resource_version"],
        headers={"Location": f"/v1/resources/{row['resource_id']}"},
    )


@router.get(
    "",
    response_model=ResourcePage,
    summary="List resources",
    responses=problems("validation"),
)
async def list_resources(
    _visitor: Visitor, db: Db, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: str | None = None
) -> DatabaseJson:
    """List what can be booked, in order of creation. Needs no token."""
    return DatabaseJson(await queries.list_resources(db, limit, cursor))


@router.get(
    "/{resource_id}",
    response_model=Resource,
    summary="Read a resource",
    responses=problems("resource_not_found", "validation"),
)
async def get_resource(_visitor: Visitor, resource_id: UUID, db: Db) -> DatabaseJson:
    """Read one resource. Needs no token."""
    row = await queries.get_resource(db, resource_id)
    return DatabaseJson(row["body"], version=row["resource_version"])


@router.patch(
    "/{resource_id}",
    response_model=Resource,
    summary="Change a resource",
    responses=problems(
        "unauthorized", "forbidden", "resource_not_found", "version_conflict", "precondition_required", *UNREADABLE
    ),
)
async def update_resource(
    actor: AdminActor, resource_id: UUID, body: ResourceUpdate, version: IfMatch, db: Db, waker: Wake
) -> DatabaseJson:
    """Change the given fields, if nobody else changed the resource since you read it (`If-Match`)."""
    row = await queries.update_resource(db, actor, resource_id, version, body)
    # prebookings may be open in another time zone
    await waker.wake()
    return DatabaseJson(row["body"], version=row["resource_version"])
