"""One call a function of sql/: messages."""

import json
from datetime import datetime, time
from typing import Any, NamedTuple
from uuid import UUID

from app.database import Database
from app.handlers import Job
from app.messages.schemas import ChannelName, MessageFilters, Preferences
from app.security import Actor


class Plan(NamedTuple):
    """What sending a message takes, or why it is not to be sent now."""

    skip_reason: str | None
    wait_until: datetime | None
    # an earlier attempt may have sent it
    is_unclear: bool
    sending_at: datetime | None
    body: dict[str, Any]


async def begin_message(db: Database, job: Job, message_id: UUID, quiet: tuple[time, time]) -> Plan:
    """What sending takes; that it is about to be sent is on record. Raises lease_lost."""
    row = await db.call_row(
        "begin_message",
        p_message_id=message_id,
        p_job_id=job.id,
        p_lease_token=job.lease_token,
        p_quiet_from=quiet[0],
        p_quiet_to=quiet[1],
    )
    return Plan(row["skip_reason"], row["wait_until"], row["is_unclear"], row["sending_at"], json.loads(row["body"]))


async def end_message(
    db: Database,
    job: Job,
    message_id: UUID,
    status: str,
    *,
    reason: str | None = None,
    detail: str | None = None,
    provider_ref: str | None = None,
    language: str | None = None,
) -> None:
    """Record what came of it; with `sent` the job is done too. Raises lease_lost."""
    await db.call(
        "end_message",
        p_message_id=message_id,
        p_job_id=job.id,
        p_lease_token=job.lease_token,
        p_status=status,
        p_reason=reason,
        p_detail=detail,
        p_provider_ref=provider_ref,
        p_language=language,
    )


async def is_sms_opted_out(db: Database, number: str) -> bool:
    """Whether whoever has this E.164 number asked for no SMS."""
    return bool(await db.call_value("is_sms_opted_out", p_number=number))


async def put_sms_opt_out(db: Database, number: str, *, is_opted_out: bool) -> None:
    """No SMS goes to this E.164 number, or may again."""
    await db.call("put_sms_opt_out", p_number=number, p_is_opted_out=is_opted_out)


async def list_messages(db: Database, filters: MessageFilters) -> str:
    """One page of the messages that pass every given filter, as JSON."""
    return str(
        await db.call_value(
            "list_messages",
            p_customer_ref=filters.customer_ref,
            p_status=filters.status,
            p_limit=filters.limit,
            p_cursor=filters.cursor,
        )
    )


async def put_channel(db: Database, actor: Actor, name: ChannelName, *, is_enabled: bool) -> str:
    """Every channel, this one enabled or not, as JSON."""
    return str(await db.call_value("put_channel", p_actor=actor.json(), p_name=name, p_is_enabled=is_enabled))


async def list_channels(db: Database) -> str:
    """Every channel as JSON."""
    return str(await db.call_value("list_channels"))


async def get_preferences(db: Database, customer_ref: str) -> str:
    """How the customer wants to be told, as JSON."""
    return str(await db.call_value("get_preferences", p_customer_ref=customer_ref))


async def put_preferences(db: Database, actor: Actor, customer_ref: str, body: Preferences) -> str:
    """How the customer wants to be told from now on, as JSON."""
    return str(
        await db.call_value(
            "put_preferences",
            p_actor=actor.json(),
            p_customer_ref=customer_ref,
            p_language=body.language,
            p_timezone=body.timezone,
            p_email_opt_out=body.email_opt_out,
            p_sms_opt_out=body.sms_opt_out,
        )
    )
