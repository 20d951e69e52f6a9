"""Whether the process is alive, and whether it can serve."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.database import Db
from app.errors import Problem, problems
from app.migrate import head_revision
from app.openapi import operation_id

router = APIRouter(tags=["operations"], generate_unique_id_function=operation_id)


class Health(BaseModel):
    """Alive."""

    status: str = "ok"


class Readiness(Health):
    """Ready: the database answers, and its schema is the one this version was written for."""

    revision: str = Field(description="The migration the database is at.")


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Answer without touching the database: restarting us would not mend it."""
    return Health()


@router.get("/readyz", summary="Can it serve?", responses=problems("unavailable", "not_configured"))
async def readyz(db: Db) -> Readiness:
    """Answer 200 when the database answers and is migrated, else 503."""
    revision = await db.revision()
    if revision is None or revision < head_revision():
        raise Problem("not_configured", "The database is not migrated: run `holdfast migrate`.")
    return Readiness(revision=revision)
