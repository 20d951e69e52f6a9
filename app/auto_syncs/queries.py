"""One call a function of sql/: auto-syncs."""

import json
from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from asyncpg import Record

from app.auto_syncs.schemas import Answer, AutoSyncCreate, AutoSyncFilters
from app.conditions import fingerprint
from app.database import Database
from app.security import Actor


async def create_auto_sync(db: Database, actor: Actor, body: AutoSyncCreate, idempotency_key: str | None) -> Record:
    """The new auto-sync, or the one this key made before: `auto_sync_id, body, replayed`.

    Raises crew_not_found, crew_member_not_found, resource_not_found, invalid_times, idempotency_conflict.
    """
    goal = body.goal
    reminder_after, pause_after = body.durations
    return await db.call_row(
        "create_auto_sync",
        p_actor=actor.json(),
        p_crew_id=body.crew_id,
        p_event_name=body.event_name,
        p_timezone=body.timezone,
        p_response_goal=goal.response_goal,
        p_goal_number=goal.number,
        p_goal_share=goal.share,
        p_named_refs=goal.named_refs,
        p_reminder_after=reminder_after,
        p_pause_after=pause_after,
        p_times=body.proposed,
        p_resource_id=body.resource_id,
        p_units=body.units,
        p_idempotency_key=idempotency_key,
        p_request_hash=fingerprint(body),
    )


async def get_auto_sync(db: Database, actor: Actor, auto_sync_id: UUID) -> str:
    """One auto-sync as JSON. Raises auto_sync_not_found."""
    return str(await db.call_value("get_auto_sync", p_auto_sync_id=auto_sync_id, p_customer_ref=actor.customer_ref))


async def list_auto_syncs(db: Database, actor: Actor, filters: AutoSyncFilters) -> str:
    """One page of the auto-syncs that pass every given filter, as JSON."""
    return str(
        await db.call_value(
            "list_auto_syncs",
            p_crew_id=filters.crew_id,
            p_status=filters.status,
            p_customer_ref=actor.customer_ref or filters.customer_ref,
            p_limit=filters.limit,
            p_cursor=filters.cursor,
        )
    )


async def set_auto_sync_status(
    db: Database,
    actor: Actor,
    auto_sync_id: UUID,
    status: Literal["running", "paused", "cancelled"],
    reason: str | None,
) -> str:
    """The auto-sync with that status, as JSON. Raises auto_sync_not_found, invalid_transition."""
    return str(
        await db.call_value(
            "set_auto_sync_status",
            p_actor=actor.json(),
            p_auto_sync_id=auto_sync_id,
            p_status=status,
            p_reason=reason,
        )
    )


async def record_response(
    db: Database, actor: Actor, auto_sync_id: UUID, customer_ref: str, answer: Answer, times: Sequence[UUID]
) -> str:
    """The auto-sync with that customer's answer, as JSON.

    Raises auto_sync_not_found, crew_member_not_found, auto_sync_over, invalid_times.
    """
    return str(
        await db.call_value(
            "record_response",
            p_actor=actor.json(),
            p_auto_sync_id=auto_sync_id,
            p_customer_ref=customer_ref,
            p_answer=answer,
            p_times=times,
        )
    )


async def record_response_of(
    db: Database, actor: Actor, participant_id: UUID, answer: Answer, times: Sequence[UUID]
) -> None:
    """A participant's answer is on record. Raises as record_response does."""
    await db.call(
        "record_response", p_actor=actor.json(), p_participant_id=participant_id, p_answer=answer, p_times=times
    )


async def get_invitation(db: Database, participant_id: UUID) -> dict[str, Any]:
    """What a participant is asked. Raises auto_sync_not_found, auto_sync_over."""
    invitation: dict[str, Any] = json.loads(await db.call_value("get_invitation", p_participant_id=participant_id))
    return invitation
