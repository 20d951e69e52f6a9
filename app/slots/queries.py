"""One call a function of sql/: slots."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from app.database import Database
from app.security import Actor
from app.slots.schemas import SlotsCreate


async def add_slots(db: Database, actor: Actor, resource_id: UUID, body: SlotsCreate) -> str:
    """The given slots of a resource as JSON, made where they did not exist. Raises resource_not_found."""
    slots = [slot.model_dump(mode="json") for slot in body.slots]
    return str(await db.call_value("add_slots", p_actor=actor.json(), p_resource_id=resource_id, p_slots=slots))


async def available_slots(
    db: Database,
    resource_ids: Sequence[UUID],
    starting: datetime,
    before: datetime,
    timezone: str | None,
    units: int,
    etags: Sequence[str],
) -> Record:
    """The slots that start in [starting, before): `etag, body`, the body as JSON, or None where the ETag is known.

    Raises resource_not_found.
    """
    return await db.call_row(
        "available_slots",
        p_resource_ids=resource_ids,
        p_from=starting,
        p_to=before,
        p_tz=timezone,
        p_units=units,
        p_etags=etags,
    )


async def given_slots(db: Database, slot_ids: Sequence[UUID], timezone: str | None, units: int) -> str:
    """The slots with these ids as JSON; ids of no slot are left out."""
    return str(await db.call_value("given_slots", p_slot_ids=slot_ids, p_tz=timezone, p_units=units))
