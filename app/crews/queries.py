"""One call a function of sql/: crews."""

from uuid import UUID

from app.crews.schemas import CrewCreate, CrewFilters, ListQuery, MemberCreate
from app.database import Database
from app.security import Actor


async def create_crew(db: Database, actor: Actor, body: CrewCreate) -> str:
    """The new crew as JSON."""
    return str(
        await db.call_value(
            "create_crew",
            p_actor=actor.json(),
            p_name=body.name,
            p_organizer=body.organizer.model_dump(exclude_none=True) if body.organizer else None,
            p_metadata=body.metadata,
        )
    )


async def get_crew(db: Database, actor: Actor, crew_id: UUID) -> str:
    """One crew as JSON. Raises crew_not_found."""
    return str(await db.call_value("get_crew", p_crew_id=crew_id, p_customer_ref=actor.customer_ref))


async def list_crews(db: Database, actor: Actor, filters: CrewFilters) -> str:
    """One page of crews as JSON."""
    return str(
        await db.call_value(
            "list_crews",
            p_customer_ref=actor.customer_ref or filters.customer_ref,
            p_limit=filters.limit,
            p_cursor=filters.cursor,
        )
    )


async def add_crew_member(db: Database, actor: Actor, crew_id: UUID, body: MemberCreate) -> str:
    """The member as JSON. Raises crew_not_found."""
    return str(
        await db.call_value(
            "add_crew_member",
            p_actor=actor.json(),
            p_crew_id=crew_id,
            p_customer=body.model_dump(exclude_none=True, exclude={"language", "timezone"}),
            p_language=body.language,
            p_timezone=body.timezone,
        )
    )


async def remove_crew_member(db: Database, actor: Actor, crew_id: UUID, member_id: UUID) -> str:
    """The member, who has left, as JSON. Raises crew_not_found, crew_member_not_found."""
    return str(
        await db.call_value("remove_crew_member", p_actor=actor.json(), p_crew_id=crew_id, p_member_id=member_id)
    )


async def list_crew_members(db: Database, actor: Actor, crew_id: UUID, page: ListQuery) -> str:
    """One page of the crew's members as JSON. Raises crew_not_found."""
    return str(
        await db.call_value(
            "list_crew_members",
            p_crew_id=crew_id,
            p_customer_ref=actor.customer_ref,
            p_limit=page.limit,
            p_cursor=page.cursor,
        )
    )
