"""/v1/auto-syncs: ask a crew, and take its answers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.auto_syncs import queries
from app.auto_syncs.pages import router as pages
from app.auto_syncs.schemas import (
    AutoSync,
    AutoSyncCreate,
    AutoSyncFilters,
    AutoSyncPage,
    Response,
    StepReason,
)
from app.conditions import REPLAYED, IdempotencyKey
from app.customer import customer_ref_of
from app.database import Db
from app.errors import UNREADABLE, problems
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.security import CustomerActor
from app.waker import Wake

router = APIRouter(prefix="/v1/auto-syncs", tags=["auto-syncs"], generate_unique_id_function=operation_id)
STEP = problems(
    "unauthorized",
    "forbidden",
    "auto_sync_not_found",
    "invalid_transition",
    *UNREADABLE,
)


@router.post(
    "",
    status_code=201,
    response_model=AutoSync,
    summary="Ask a crew",
    responses=problems(
        "unauthorized",
        "forbidden",
        "crew_not_found",
        "crew_member_not_found",
        "resource_not_found",
        "idempotency_conflict",
        "invalid_times",
        *UNREADABLE,
    ),
)
async def create_auto_sync(
    actor: CustomerActor, body: AutoSyncCreate, idempotency_key: IdempotencyKey, db: Db, waker: Wake
) -> DatabaseJson:
    """Ask everybody in the crew whether and when; for a customer with a token, a crew that they organize.

    Who has not answered is reminded after `reminder_after`; if the goal is not met by `pause_after`, it pauses. The
    answer that meets the goal completes it, and books the winning time where there is a resource.
    """
    row = await queries.create_auto_sync(db, actor, body, idempotency_key)
    await waker.wake()
    headers = {"Location": f"/v1/auto-syncs/{row['auto_sync_id']}"} | (REPLAYED if row["replayed"] else {})
    return DatabaseJson(row["body"], status_code=201, headers=headers)


@router.get(
    "",
    response_model=AutoSyncPage,
    summary="List auto-syncs",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_auto_syncs(actor: CustomerActor, db: Db, filters: Annotated[AutoSyncFilters, Query()]) -> DatabaseJson:
    """List the auto-syncs that pass every given filter, in order of creation; a customer's are those of their crews."""
    return DatabaseJson(await queries.list_auto_syncs(db, actor, filters))


@router.get(
    "/{auto_sync_id}",
    response_model=AutoSync,
    summary="Read an auto-sync",
    responses=problems("unauthorized", "forbidden", "auto_sync_not_found", "validation"),
)
async def get_auto_sync(actor: CustomerActor, auto_sync_id: UUID, db: Db) -> DatabaseJson:
    """Read what a crew is asked, what each answered, and what came of it."""
    return DatabaseJson(await queries.get_auto_sync(db, actor, auto_sync_id))


@router.post(
    "/{auto_sync_id}/responses",
    response_model=AutoSync,
    summary="Answer an auto-sync",
    responses=problems(
        "unauthorized",
        "forbidden",
        "auto_sync_not_found",
        "crew_member_not_found",
        "auto_sync_over",
        "invalid_times",
        *UNREADABLE,
    ),
)
async def record_response(
    actor: CustomerActor, auto_sync_id: UUID, body: Response, db: Db, waker: Wake
) -> DatabaseJson:
    """Answer, or answer otherwise. The answer that meets the goal completes a running auto-sync, and books."""
    ref = customer_ref_of(actor, body.customer_ref, "body.customer_ref")
    answered = await queries.record_response(db, actor, auto_sync_id, ref, body.answer, body.times)
    await waker.wake()
    return DatabaseJson(answered)


@router.post("/{auto_sync_id}/pause", response_model=AutoSync, summary="Pause an auto-sync", responses=STEP)
async def pause_auto_sync(
    actor: CustomerActor, auto_sync_id: UUID, db: Db, body: StepReason | None = None
) -> DatabaseJson:
    """Pause it: nobody is reminded and nothing is booked, answers are taken still. Twice is once."""
    return DatabaseJson(
        await queries.set_auto_sync_status(db, actor, auto_sync_id, "paused", body.reason if body else None)
    )


@router.post("/{auto_sync_id}/resume", response_model=AutoSync, summary="Resume an auto-sync", responses=STEP)
async def resume_auto_sync(
    actor: CustomerActor, auto_sync_id: UUID, db: Db, waker: Wake, body: StepReason | None = None
) -> DatabaseJson:
    """Resume it: what is still to come comes after its time from now on; if the goal is met already, it completes."""
    resumed = await queries.set_auto_sync_status(db, actor, auto_sync_id, "running", body.reason if body else None)
    await waker.wake()
    return DatabaseJson(resumed)


@router.post("/{auto_sync_id}/cancel", response_model=AutoSync, summary="Cancel an auto-sync", responses=STEP)
async def cancel_auto_sync(
    actor: CustomerActor, auto_sync_id: UUID, db: Db, body: StepReason | None = None
) -> DatabaseJson:
    """Cancel it for good: nobody is asked any more."""
    return DatabaseJson(
        await queries.set_auto_sync_status(db, actor, auto_sync_id, "cancelled", body.reason if body else None)
    )


router.routes.extend(pages.routes)
