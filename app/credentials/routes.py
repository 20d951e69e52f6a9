"""/v1/credentials: what lets a customer in at a provider. It goes in and never comes out."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.credentials import queries
from app.credentials.schemas import CredentialsFilters, CredentialsPage, CredentialsPut, CredentialsState
from app.customer import customer_ref_of
from app.database import Db
from app.errors import UNREADABLE, problems
from app.keys import require_keys
from app.openapi import operation_id
from app.providers.schemas import ProviderName
from app.providers.vault import seal
from app.responses import DatabaseJson
from app.schemas import Name
from app.security import CustomerActor
from app.waker import Wake

router = APIRouter(prefix="/v1/credentials", tags=["credentials"], generate_unique_id_function=operation_id)

_REFUSALS = ("unauthorized", "forbidden")


@router.put(
    "/{provider}",
    response_model=CredentialsState,
    summary="Store credentials",
    responses=problems(*_REFUSALS, "provider_not_found", "encryption_unavailable", *UNREADABLE),
)
async def put_credentials(
    request: Request, actor: CustomerActor, provider: ProviderName, body: CredentialsPut, db: Db, waker: Wake
) -> DatabaseJson:
    """Store what lets the customer in at the provider, in place of what was stored before, and have it checked.

    It is encrypted before it reaches the database, and no call answers it.
    """
    customer_ref = customer_ref_of(actor, body.customer_ref, "body.customer_ref")
    sealed = seal(require_keys(request), provider, customer_ref, body.plain())
    stored = await queries.put_credentials(db, actor, provider, customer_ref, sealed)
    await waker.wake()
    return DatabaseJson(stored)


@router.get(
    "",
    response_model=CredentialsPage,
    summary="List credentials",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_credentials(
    actor: CustomerActor, db: Db, filters: Annotated[CredentialsFilters, Query()]
) -> DatabaseJson:
    """List who has credentials where, and whether they are valid. A customer with a token sees own ones only."""
    return DatabaseJson(await queries.list_credentials(db, actor, filters))


@router.delete(
    "/{provider}",
    status_code=204,
    response_class=Response,
    summary="Delete credentials",
    responses=problems(*_REFUSALS, "credentials_not_found", "validation"),
)
async def delete_credentials(
    actor: CustomerActor,
    provider: ProviderName,
    db: Db,
    customer_ref: Annotated[Name | None, Query(description="May be left out by a customer with a token.")] = None,
) -> Response:
    """Delete what was stored, for good."""
    ref = customer_ref_of(actor, customer_ref, "query.customer_ref")
    await queries.delete_credentials(db, actor, provider, ref)
    return Response(status_code=204, headers={"Cache-Control": "no-store"})
