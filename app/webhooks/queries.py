"""One call a function of sql/: webhook endpoints and deliveries."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from app.database import Database
from app.encryption import Sealed
from app.security import Actor
from app.webhooks.schemas import DeliveryFilters, ReplayRange, WebhookEndpointCreate, WebhookEndpointUpdate
from app.webhooks.sending import Answer


class Request(NamedTuple):
    """What a delivery sends, where to, and the secrets that sign it."""

    url: str
    event_id: str
    body: bytes
    secrets: list[Sealed]


class Old(NamedTuple):
    """A secret under a key that is not the first."""

    id: UUID
    endpoint_id: UUID
    sealed: Sealed


async def create_webhook_endpoint(
    db: Database, actor: Actor, endpoint_id: UUID, body: WebhookEndpointCreate, sealed: Sealed
) -> Record:
    """The new endpoint's id, version and JSON."""
    return await db.call_row(
        "create_webhook_endpoint",
        p_actor=actor.json(),
        p_endpoint_id=endpoint_id,
        p_url=str(body.url),
        p_event_types=body.event_types,
        p_description=body.description,
        p_key_id=sealed.key_id,
        p_nonce=sealed.nonce,
        p_ciphertext=sealed.ciphertext,
    )


async def list_webhook_endpoints(db: Database) -> str:
    """Every endpoint, as JSON."""
    return str(await db.call_value("list_webhook_endpoints"))


async def get_webhook_endpoint(db: Database, endpoint_id: UUID) -> Record:
    """The endpoint's id, version and JSON. Raises webhook_endpoint_not_found."""
    return await db.call_row("get_webhook_endpoint", p_endpoint_id=endpoint_id)


async def update_webhook_endpoint(
    db: Database, actor: Actor, endpoint_id: UUID, version: int, body: WebhookEndpointUpdate
) -> Record:
    """The changed endpoint's id, version and JSON. Raises webhook_endpoint_not_found, version_conflict."""
    return await db.call_row(
        "update_webhook_endpoint",
        p_actor=actor.json(),
        p_endpoint_id=endpoint_id,
        p_version=version,
        p_changes=body.model_dump(mode="json", exclude_unset=True),
    )


async def disable_webhook_endpoint(db: Database, actor: Actor, endpoint_id: UUID) -> Record:
    """The disabled endpoint's id, version and JSON. Raises webhook_endpoint_not_found."""
    return await db.call_row("disable_webhook_endpoint", p_actor=actor.json(), p_endpoint_id=endpoint_id)


async def rotate_webhook_secret(db: Database, actor: Actor, endpoint_id: UUID, sealed: Sealed) -> str:
    """The endpoint, as JSON. Raises webhook_endpoint_not_found."""
    return str(
        await db.call_value(
            "rotate_webhook_secret",
            p_actor=actor.json(),
            p_endpoint_id=endpoint_id,
            p_key_id=sealed.key_id,
            p_nonce=sealed.nonce,
            p_ciphertext=sealed.ciphertext,
        )
    )


async def test_webhook_endpoint(db: Database, actor: Actor, endpoint_id: UUID) -> str:
    """The delivery of a test, as JSON. Raises webhook_endpoint_not_found."""
    return str(await db.call_value("test_webhook_endpoint", p_actor=actor.json(), p_endpoint_id=endpoint_id))


async def replay_events(db: Database, actor: Actor, endpoint_id: UUID, body: ReplayRange) -> str:
    """How many events are delivered once more, and where to go on, as JSON.

    Raises webhook_endpoint_not_found, webhook_endpoint_disabled.
    """
    return str(
        await db.call_value(
            "replay_events", p_actor=actor.json(), p_endpoint_id=endpoint_id, p_from=body.from_, p_to=body.to
        )
    )


async def list_deliveries(db: Database, filters: DeliveryFilters) -> str:
    """One page of the deliveries that pass every given filter, as JSON."""
    return str(
        await db.call_value(
            "list_deliveries",
            p_endpoint_id=filters.endpoint_id,
            p_status=filters.status,
            p_event_type=filters.event_type,
            p_limit=filters.limit,
            p_cursor=filters.cursor,
        )
    )


async def get_delivery(db: Database, delivery_id: UUID) -> str:
    """One delivery with its attempts, as JSON. Raises delivery_not_found."""
    return str(await db.call_value("get_delivery", p_delivery_id=delivery_id))


async def replay_delivery(db: Database, actor: Actor, delivery_id: UUID) -> str:
    """The delivery that waits again, as JSON. Raises delivery_not_found, webhook_endpoint_disabled."""
    return str(await db.call_value("replay_delivery", p_actor=actor.json(), p_delivery_id=delivery_id))


async def delivery_request(db: Database, delivery_id: UUID, now: datetime) -> Request | None:
    """What the delivery sends; None where nothing is to be sent."""
    rows = await db.call("delivery_request", p_delivery_id=delivery_id, p_now=now)
    if not rows:
        return None
    (row,) = rows
    sealed = [Sealed(*parts) for parts in zip(row["key_ids"], row["nonces"], row["ciphertexts"], strict=True)]
    return Request(row["url"], row["event_id"], row["body"].encode(), sealed)


async def end_delivery(db: Database, actor: Actor, delivery_id: UUID, answer: Answer, now: datetime) -> None:
    """What came of the attempt is on record, with what follows for the endpoint."""
    await db.call(
        "end_delivery",
        p_actor=actor.json(),
        p_delivery_id=delivery_id,
        p_status=answer.status,
        p_duration_ms=answer.duration_ms,
        p_answer=answer.text,
        p_error=answer.error,
        p_now=now,
    )


async def old_webhook_secrets(db: Database, key_id: str) -> list[Old]:
    """The secrets that are not under that key."""
    rows = await db.call("old_webhook_secrets", p_key_id=key_id)
    return [
        Old(row["secret_id"], row["endpoint_id"], Sealed(row["key_id"], row["nonce"], row["ciphertext"]))
        for row in rows
    ]


async def reseal_webhook_secret(db: Database, actor: Actor, old: Old, sealed: Sealed) -> bool:
    """Whether the secret was still as given, and is under its new key now."""
    return bool(
        await db.call_value(
            "reseal_webhook_secret",
            p_actor=actor.json(),
            p_secret_id=old.id,
            p_old_nonce=old.sealed.nonce,
            p_key_id=sealed.key_id,
            p_nonce=sealed.nonce,
            p_ciphertext=sealed.ciphertext,
        )
    )


async def webhook_secrets_by_key(db: Database) -> dict[str, int]:
    """How many webhook secrets are under each key."""
    return {row["key_id"]: row["secrets"] for row in await db.call("webhook_secrets_by_key")}
