"""One call a function of sql/: resources."""

from uuid import UUID

from asyncpg import Record

from app.database import Database
from app.resources.schemas import ResourceCreate, ResourceUpdate
from app.security import Actor


async def create_resource(db: Database, actor: Actor, body: ResourceCreate) -> Record:
    """A new resource: `resource_id, resource_version, body`."""
    return await db.call_row(
        "create_resource",
        p_actor=actor.json(),
        p_name=body.name,
        p_timezone=body.timezone,
        p_metadata=body.metadata,
    )


async def update_resource(db: Database, actor: Actor, resource_id: UUID, version: int, body: ResourceUpdate) -> Record:
    """The changed resource. Raises resource_not_found, version_conflict."""
    return await db.call_row(
        "update_resource",
        p_actor=actor.json(),
        p_resource_id=resource_id,
        p_version=version,
        p_name=body.name,
        p_timezone=body.timezone,
        p_metadata=body.metadata,
    )


async def get_resource(db: Database, resource_id: UUID) -> Record:
    """One resource. Raises resource_not_found."""
    return await db.call_row("get_resource", p_resource_id=resource_id)


async def list_resources(db: Database, limit: int, cursor: str | None) -> str:
    """One page of resources as JSON."""
    return str(await db.call_value("list_resources", p_limit=limit, p_cursor=cursor))
