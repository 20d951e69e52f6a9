"""/v1/webhook-endpoints: where events are delivered; /v1/deliveries: what came of it."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request

from app.conditions import IfMatch
from app.database import Db
from app.encryption import Sealed
from app.errors import UNREADABLE, problems
from app.keys import require_keys
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.security import AdminActor
from app.waker import Wake
from app.webhooks import queries
from app.webhooks.schemas import (
    Delivery,
    DeliveryDetail,
    DeliveryFilters,
    DeliveryPage,
    Replayed,
    ReplayRange,
    WebhookEndpoint,
    WebhookEndpointCreate,
    WebhookEndpoints,
    WebhookEndpointSecret,
    WebhookEndpointUpdate,
)
from app.webhooks.signing import new_secret
from app.webhooks.vault import seal

router = APIRouter(tags=["webhooks"], generate_unique_id_function=operation_id)

_REFUSALS = ("unauthorized", "forbidden", "validation")


@router.post(
    "/v1/webhook-endpoints",
    status_code=201,
    response_model=WebhookEndpointSecret,
    summary="Add a webhook endpoint",
    responses=problems(*_REFUSALS, "encryption_unavailable", *UNREADABLE),
)
async def create_webhook_endpoint(
    request: Request, actor: AdminActor, body: WebhookEndpointCreate, db: Db
) -> DatabaseJson:
    """Have events delivered to an address from now on. The answer holds the secret that signs them, this once."""
    endpoint_id = uuid4()
    secret, sealed = _new_secret(request, endpoint_id)
    row = await queries.create_webhook_endpoint(db, actor, endpoint_id, body, sealed)
    return DatabaseJson(
        _with_secret(row["body"], secret),
        status_code=201,
        version=row["endpoint_version"],
        headers={"Location": f"/v1/webhook-endpoints/{endpoint_id}"},
    )


@router.get(
    "/v1/webhook-endpoints",
    response_model=WebhookEndpoints,
    summary="List webhook endpoints",
    responses=problems(*_REFUSALS),
)
async def list_webhook_endpoints(_actor: AdminActor, db: Db) -> DatabaseJson:
    """List every endpoint, in order of creation, those that are disabled too."""
    return DatabaseJson(await queries.list_webhook_endpoints(db))


@router.get(
    "/v1/webhook-endpoints/{endpoint_id}",
    response_model=WebhookEndpoint,
    summary="Read a webhook endpoint",
    responses=problems(*_REFUSALS, "webhook_endpoint_not_found"),
)
async def get_webhook_endpoint(_actor: AdminActor, endpoint_id: UUID, db: Db) -> DatabaseJson:
    """Read one endpoint, and since when it fails."""
    row = await queries.get_webhook_endpoint(db, endpoint_id)
    return DatabaseJson(row["body"], version=row["endpoint_version"])


@router.patch(
    "/v1/webhook-endpoints/{endpoint_id}",
    response_model=WebhookEndpoint,
    summary="Change a webhook endpoint",
    responses=problems(
        *_REFUSALS, "webhook_endpoint_not_found", "version_conflict", "precondition_required", *UNREADABLE
    ),
)
async def update_webhook_endpoint(
    actor: AdminActor, endpoint_id: UUID, body: WebhookEndpointUpdate, version: IfMatch, db: Db
) -> DatabaseJson:
    """Change the given fields, if nobody else changed the endpoint since you read it (`If-Match`)."""
    row = await queries.update_webhook_endpoint(db, actor, endpoint_id, version, body)
    return DatabaseJson(row["body"], version=row["endpoint_version"])


@router.delete(
    "/v1/webhook-endpoints/{endpoint_id}",
    response_model=WebhookEndpoint,
    summary="Disable a webhook endpoint",
    responses=problems(*_REFUSALS, "webhook_endpoint_not_found"),
)
async def disable_webhook_endpoint(actor: AdminActor, endpoint_id: UUID, db: Db) -> DatabaseJson:
    """Deliver nothing there any more. It stays on record, with its deliveries; `PATCH` enables it again."""
    row = await queries.disable_webhook_endpoint(db, actor, endpoint_id)
    return DatabaseJson(row["body"], version=row["endpoint_version"])


@router.post(
    "/v1/webhook-endpoints/{endpoint_id}/rotate-secret",
    response_model=WebhookEndpointSecret,
    summary="Give a webhook endpoint a new secret",
    responses=problems(*_REFUSALS, "webhook_endpoint_not_found", "encryption_unavailable"),
)
async def rotate_webhook_secret(request: Request, actor: AdminActor, endpoint_id: UUID, db: Db) -> DatabaseJson:
    """Answer a new secret, this once. The old one signs beside it for another 24 hours."""
    secret, sealed = _new_secret(request, endpoint_id)
    return DatabaseJson(_with_secret(await queries.rotate_webhook_secret(db, actor, endpoint_id, sealed), secret))


@router.post(
    "/v1/webhook-endpoints/{endpoint_id}/test",
    status_code=202,
    response_model=Delivery,
    summary="Test a webhook endpoint",
    responses=problems(*_REFUSALS, "webhook_endpoint_not_found"),
)
async def test_webhook_endpoint(actor: AdminActor, endpoint_id: UUID, db: Db, waker: Wake) -> DatabaseJson:
    """Deliver an event `webhook_endpoint.tested` there, once, enabled or not; read the delivery for what came of it."""
    body = await queries.test_webhook_endpoint(db, actor, endpoint_id)
    await waker.wake()
    return DatabaseJson(body, status_code=202)


@router.post(
    "/v1/webhook-endpoints/{endpoint_id}/replay",
    status_code=202,
    response_model=Replayed,
    summary="Deliver the events of a time once more",
    responses=problems(*_REFUSALS, "webhook_endpoint_not_found", "webhook_endpoint_disabled", *UNREADABLE),
)
async def replay_events(actor: AdminActor, endpoint_id: UUID, body: ReplayRange, db: Db, waker: Wake) -> DatabaseJson:
    """Deliver every event from `from` until before `to` that the endpoint wants, whether it had it before or not."""
    answer = await queries.replay_events(db, actor, endpoint_id, body)
    await waker.wake()
    return DatabaseJson(answer, status_code=202)


@router.get(
    "/v1/deliveries",
    response_model=DeliveryPage,
    summary="List deliveries",
    responses=problems(*_REFUSALS),
)
async def list_deliveries(_actor: AdminActor, db: Db, filters: Annotated[DeliveryFilters, Query()]) -> DatabaseJson:
    """List the deliveries that pass every given filter, in order of creation."""
    return DatabaseJson(await queries.list_deliveries(db, filters))


@router.get(
    "/v1/deliveries/{delivery_id}",
    response_model=DeliveryDetail,
    summary="Read a delivery",
    responses=problems(*_REFUSALS, "delivery_not_found"),
)
async def get_delivery(_actor: AdminActor, delivery_id: UUID, db: Db) -> DatabaseJson:
    """Read one delivery, with every attempt at it."""
    return DatabaseJson(await queries.get_delivery(db, delivery_id))


@router.post(
    "/v1/deliveries/{delivery_id}/replay",
    status_code=202,
    response_model=DeliveryDetail,
    summary="Deliver an event once more",
    responses=problems(*_REFUSALS, "delivery_not_found", "webhook_endpoint_disabled"),
)
async def replay_delivery(actor: AdminActor, delivery_id: UUID, db: Db, waker: Wake) -> DatabaseJson:
    """Deliver it once more, at once, under the same id, whatever came of it before."""
    body = await queries.replay_delivery(db, actor, delivery_id)
    await waker.wake()
    return DatabaseJson(body, status_code=202)


def _new_secret(request: Request, endpoint_id: UUID) -> tuple[str, Sealed]:
    keys, secret = require_keys(request), new_secret()
    return secret, seal(keys, endpoint_id, secret)


def _with_secret(endpoint: str, secret: str) -> str:
    return f'{{"endpoint": {endpoint}, "secret": "{secret}"}}'
