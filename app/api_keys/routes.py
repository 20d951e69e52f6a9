"""/v1/api-keys: who may call."""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter

from app.api_keys import queries
from app.api_keys.queries import NewKey
from app.api_keys.schemas import ApiKey, ApiKeyCreate, ApiKeyRotation, ApiKeys, ApiKeySecret
from app.database import Db
from app.errors import UNREADABLE, problems
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.security import AdminActor

router = APIRouter(prefix="/v1", tags=["api keys"], generate_unique_id_function=operation_id)

_REFUSALS = ("unauthorized", "forbidden", "validation")


@router.post(
    "/api-keys",
    status_code=201,
    response_model=ApiKeySecret,
    summary="Make an API key",
    responses=problems(*_REFUSALS, *UNREADABLE),
)
async def create_api_key(actor: AdminActor, body: ApiKeyCreate, db: Db) -> DatabaseJson:
    """Make a key. The answer holds it, this once; a repeated request makes another."""
    expires_in = None if body.expires_in_days is None else timedelta(days=body.expires_in_days)
    return _shown(await queries.create_api_key(db, actor, body.name, sorted(set(body.scopes)), expires_in))


@router.get("/api-keys", response_model=ApiKeys, summary="List API keys", responses=problems(*_REFUSALS))
async def list_api_keys(_actor: AdminActor, db: Db) -> DatabaseJson:
    """List every key, newest first, those that are over too; never a key itself."""
    items = ", ".join(row["body"] for row in await queries.list_api_keys(db))
    return DatabaseJson(f'{{"items": [{items}]}}')


@router.post(
    "/api-keys/{key_id}/rotate",
    status_code=201,
    response_model=ApiKeySecret,
    summary="Rotate an API key",
    responses=problems(*_REFUSALS, "api_key_not_found", "api_key_ended", *UNREADABLE),
)
async def rotate_api_key(actor: AdminActor, key_id: UUID, body: ApiKeyRotation, db: Db) -> DatabaseJson:
    """Make a key of the same name, scopes and lifetime. The old one works on until the overlap is over."""
    return _shown(await queries.rotate_api_key(db, actor, key_id, timedelta(seconds=body.overlap_seconds)))


@router.post(
    "/api-keys/{key_id}/revoke",
    response_model=ApiKey,
    summary="Revoke an API key",
    responses=problems(*_REFUSALS, "api_key_not_found"),
)
async def revoke_api_key(actor: AdminActor, key_id: UUID, db: Db) -> DatabaseJson:
    """End a key: a second later it opens nothing any more, wherever it is used. One that is revoked stays as it is."""
    return DatabaseJson(await queries.end_api_key(db, actor, key_id))


def _shown(new: NewKey) -> DatabaseJson:
    return DatabaseJson(f'{{"api_key": {new.body}, "key": "{new.key}"}}', status_code=201)
