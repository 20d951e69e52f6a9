"""One call a function of sql/: payment events."""

from typing import Literal
from uuid import UUID

from app.database import Database
from app.payments.schemas import Outcome
from app.security import Actor


async def record_payment_event(
    db: Database,
    actor: Actor,
    event_id: str,
    event_type: str,
    booking_id: UUID | None,
    payment_status: Literal["paid", "failed", "refunded"] | None,
) -> str:
    """The event as it stands on record, with its outcome, as JSON. A known event is answered as before."""
    return str(
        await db.call_value(
            "record_payment_event",
            p_actor=actor.json(),
            p_event_id=event_id,
            p_event_type=event_type,
            p_booking_id=booking_id,
            p_payment_status=payment_status,
        )
    )


async def list_payment_events(db: Database, outcome: Outcome | None, limit: int, cursor: str | None) -> str:
    """One page of payment events as JSON."""
    return str(await db.call_value("list_payment_events", p_outcome=outcome, p_limit=limit, p_cursor=cursor))
