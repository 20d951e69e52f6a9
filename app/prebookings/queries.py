"""One call a function of sql/: prebookings."""

import json
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Record

from app.conditions import fingerprint
from app.customer import customer_of
from app.database import Database
from app.encryption import Sealed
from app.handlers import Job
from app.prebookings.schemas import PrebookingCancel, PrebookingCreate, PrebookingFilters
from app.security import Actor


class Plan(NamedTuple):
    """What executing a prebooking at a provider takes. `choice` counts the targets from one."""

    provider: str
    adapter: str
    settings: dict[str, Any]
    is_enabled: bool
    targets: list[dict[str, Any]]
    customer: dict[str, str | None]
    opens_at: datetime
    fire_at: datetime
    choice: int
    # it is ours already: who began it did not get to say so
    is_booked: bool
    confirmation: str | None
    # a request for this choice that may have left, and nobody knows what became of it
    unclear_attempt_id: UUID | None
    sealed: Sealed | None


class Result(NamedTuple):
    """What became of a prebooking: `succeeded`, or `failed` for a reason."""

    status: str
    booked_choice: int | None = None
    confirmation: str | None = None
    reason: str | None = None
    detail: str | None = None


async def create_prebooking(db: Database, actor: Actor, body: PrebookingCreate, idempotency_key: str | None) -> Record:
    """The new prebooking, or the one this key made before: `prebooking_id, body, replayed`.

    Raises resource_not_found, provider_not_found, invalid_target, already_prebooked, idempotency_conflict.
    """
    return await db.call_row(
        "create_prebooking",
        p_actor=actor.json(),
        p_resource_id=body.resource_id,
        p_provider=body.provider,
        p_targets=body.targets,
        p_customer=customer_of(actor, body.customer),
        p_units=body.units,
        p_payment_method=body.payment_method,
        p_join_waitlist=body.join_waitlist,
        p_opens_at=body.opens_at,
        p_idempotency_key=idempotency_key,
        p_request_hash=fingerprint(body),
    )


async def get_prebooking(db: Database, actor: Actor, prebooking_id: UUID) -> str:
    """One prebooking as JSON. Raises prebooking_not_found."""
    return str(await db.call_value("get_prebooking", p_prebooking_id=prebooking_id, p_customer_ref=actor.customer_ref))


async def list_prebookings(db: Database, actor: Actor, filters: PrebookingFilters) -> str:
    """One page of the prebookings that pass every given filter, as JSON."""
    return str(
        await db.call_value(
            "list_prebookings",
            p_resource_id=filters.resource_id,
            p_provider=filters.provider,
            p_customer_ref=actor.customer_ref or filters.customer_ref,
            p_status=filters.status,
            p_needs_attention=filters.needs_attention,
            p_limit=filters.limit,
            p_cursor=filters.cursor,
        )
    )


async def cancel_prebooking(db: Database, actor: Actor, prebooking_id: UUID, body: PrebookingCancel) -> str:
    """The prebooking, given up, as JSON. Raises prebooking_not_found, invalid_transition."""
    return str(
        await db.call_value(
            "cancel_prebooking", p_actor=actor.json(), p_prebooking_id=prebooking_id, p_reason=body.reason
        )
    )


async def run_openings(db: Database, actor: Actor, resource_id: UUID, limit: int) -> Record:
    """How many due prebookings of the resource `succeeded` and `failed`, and how many are `remaining`."""
    return await db.call_row("run_openings", p_actor=actor.json(), p_resource_id=resource_id, p_limit=limit)


async def begin_prebooking(db: Database, actor: Actor, prebooking_id: UUID) -> Plan | None:
    """What executing it takes; None where there is nothing to do any more."""
    for row in await db.call("begin_prebooking", p_actor=actor.json(), p_prebooking_id=prebooking_id):
        return Plan(
            row["provider"],
            row["adapter"],
            json.loads(row["settings"]),
            row["is_enabled"],
            json.loads(row["targets"]),
            json.loads(row["customer"]),
            row["opens_at"],
            row["fire_at"],
            row["choice"],
            row["is_booked"],
            row["confirmation"],
            row["unclear_attempt_id"],
            Sealed(row["key_id"], row["nonce"], row["ciphertext"]) if row["key_id"] else None,
        )
    return None


async def begin_attempt(db: Database, job: Job, prebooking_id: UUID, choice: int) -> UUID:
    """The id under which it is on record that this choice is about to be asked for. Raises lease_lost."""
    attempt_id: UUID = await db.call_value(
        "begin_attempt",
        p_prebooking_id=prebooking_id,
        p_choice=choice,
        p_job_id=job.id,
        p_lease_token=job.lease_token,
    )
    return attempt_id


async def end_attempt(
    db: Database,
    attempt_id: UUID,
    finding: str,
    *,
    detail: str | None,
    confirmation: str | None,
    fired_at: datetime | None,
) -> None:
    """Record what came of an attempt."""
    await db.call(
        "end_attempt",
        p_attempt_id=attempt_id,
        p_finding=finding,
        p_detail=detail,
        p_confirmation=confirmation,
        p_fired_at=fired_at,
    )


async def finish_prebooking(db: Database, actor: Actor, job: Job, prebooking_id: UUID, result: Result) -> None:
    """The prebooking is over and its job is done, together. Raises lease_lost."""
    await db.call(
        "finish_prebooking",
        p_actor=actor.json(),
        p_prebooking_id=prebooking_id,
        p_job_id=job.id,
        p_lease_token=job.lease_token,
        p_status=result.status,
        p_booked_choice=result.booked_choice,
        p_confirmation=result.confirmation,
        p_reason=result.reason,
        p_detail=result.detail,
    )
