"""/v1/invariants: whether every promise still holds."""

from fastapi import APIRouter

from app.database import Db
from app.errors import problems
from app.invariants import queries
from app.invariants.schemas import InvariantReport
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.security import AdminActor

router = APIRouter(prefix="/v1", tags=["operations"], generate_unique_id_function=operation_id)


@router.get(
    "/invariants",
    response_model=InvariantReport,
    summary="Recount every promise",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def check_invariants(_actor: AdminActor, db: Db) -> DatabaseJson:
    """Recount every slot against its bookings, every live booking against its job, every offer against its hold.

    Reads everything: `busy` on an installation too large for that in six seconds.
    """
    return DatabaseJson(await queries.check_invariants(db))
