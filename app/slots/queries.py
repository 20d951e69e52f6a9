"""One call a function of sql/: slots."""

from datetime import datetime
from uuid import UUID

from app.database import Database
from app.security import Actor
from app.slots.schemas import SlotsCreate


async def add_slots(db: Database, actor: Actor, resource_id: UUID, body: SlotsCreate) -> str:
    """The given slots of a resource as JSON, made where they did not exist. Raises resource_not_found."""
    slots = [slot.model_dump(mode="json") for slot in body.slots]
    return str(await db.call_value("add_slots", p_actor=actor.json(), p_resource_id=resource_id, p_slots=slots))


async def available_slots(
    db: Database, resource_id: UUID, starting: datetime, before: datetime, timezone: str | None, units: int
) -> str:
    """The slots that start in [starting, before) as JSON. Raises resource_not_found."""
    return str(
        await db.call_value(
            "available_slots",
            p_resource_id=resource_id,
            p_from=starting,
            p_to=before,
            p_tz=timezone,
            p_units=units,
        )
    )
