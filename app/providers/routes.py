"""/v1/providers: where Holdfast books for its customers, and by which rules."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from app.adapters.registry import find_adapter
from app.database import Db
from app.errors import UNREADABLE, Problem, problems
from app.openapi import operation_id
from app.providers import queries
from app.providers.schemas import Provider, ProviderName, ProviderRules, Providers
from app.responses import DatabaseJson
from app.security import AdminActor
from app.waker import Wake

router = APIRouter(prefix="/v1/providers", tags=["providers"], generate_unique_id_function=operation_id)


@router.put(
    "/{name}",
    response_model=Provider,
    summary="Set up a provider",
    responses=problems("unauthorized", "forbidden", *UNREADABLE),
)
async def put_provider(actor: AdminActor, name: ProviderName, body: ProviderRules, db: Db, waker: Wake) -> DatabaseJson:
    """Say how to book there and when booking opens, and limit the queue in which its jobs wait.

    The adapter checks its settings; they are on record in the audit trail, so keep secrets out of them.
    """
    await _require_settings(body.adapter, body.settings)
    provider = await queries.put_provider(db, actor, name, body)
    # an opening may be due by these rules
    await waker.wake()
    return DatabaseJson(provider)


@router.get(
    "",
    response_model=Providers,
    summary="List providers",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_providers(_actor: AdminActor, db: Db) -> DatabaseJson:
    """List every provider, by name."""
    return DatabaseJson(await queries.list_providers(db))


@router.get(
    "/{name}",
    response_model=Provider,
    summary="Read a provider",
    responses=problems("unauthorized", "forbidden", "provider_not_found", "validation"),
)
async def get_provider(_actor: AdminActor, name: ProviderName, db: Db) -> DatabaseJson:
    """Read one provider, with the limits of its queue."""
    return DatabaseJson(await queries.get_provider(db, name))


async def _require_settings(adapter: str, settings: Mapping[str, Any]) -> None:
    """Return if there is such an adapter, and it takes these settings. Raises Problem `validation`."""
    try:
        found = find_adapter(adapter)
    except ValueError as error:
        raise _invalid("body.adapter", str(error)) from None
    try:
        made = found.of(settings)
    except ValueError as error:
        raise _invalid("body.settings", str(error)) from None
    await made.close()


def _invalid(field: str, message: str) -> Problem:
    return Problem("validation", f"{field}: {message}", {"errors": [{"field": field, "message": message}]})
