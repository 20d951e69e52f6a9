"""/v1/customers: find a customer, export and erase one, and forbid erasing one."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.conditions import REPLAYED, IdempotencyKey
from app.customers import queries
from app.customers.schemas import CustomerExport, CustomerFilters, CustomerPage, Erasure, LegalHold, Why
from app.database import Db
from app.errors import UNREADABLE, problems
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.schemas import Name
from app.security import AdminActor

router = APIRouter(prefix="/v1/customers", tags=["customers"], generate_unique_id_function=operation_id)

Who = Annotated[
    Name,
    Path(description="The customer's `ref`; or `id:` and the customer's id, as the list has it, with a `ref` or not."),
]

_WRITING = ("unauthorized", "forbidden", "customer_not_found", *UNREADABLE)


@router.get(
    "",
    response_model=CustomerPage,
    summary="List customers",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_customers(_actor: AdminActor, db: Db, filters: Annotated[CustomerFilters, Query()]) -> DatabaseJson:
    """List the customers that pass every given filter, newest first; who was erased is none."""
    return DatabaseJson(await queries.list_customers(db, filters))


@router.post(
    "/{ref}/export",
    response_model=CustomerExport,
    summary="Export a customer",
    responses=problems("unauthorized", "forbidden", "customer_not_found", "validation"),
)
async def export_customer(_actor: AdminActor, ref: Who, db: Db) -> DatabaseJson:
    """Answer everything that is held on a customer, as one document."""
    return DatabaseJson(await queries.export_customer(db, ref))


@router.post(
    "/{ref}/erase",
    response_model=Erasure,
    summary="Erase a customer",
    responses=problems(*_WRITING, "legal_hold", "customer_active", "idempotency_conflict"),
)
async def erase_customer(
    actor: AdminActor, ref: Who, body: Why, idempotency_key: IdempotencyKey, db: Db
) -> DatabaseJson:
    """Remove all that tells who a customer was, for good; bookings stay, as nobody's, and so do the figures.

    What is still to happen is cancelled first. Afterwards nobody has that `ref`: who books with it is a new customer.
    """
    row = await queries.erase_customer(db, actor, ref, body, idempotency_key)
    return DatabaseJson(row["body"], headers=REPLAYED if row["replayed"] else None)


@router.put(
    "/{ref}/legal-hold",
    response_model=LegalHold,
    summary="Put a legal hold on a customer",
    responses=problems(*_WRITING),
)
async def put_legal_hold(actor: AdminActor, ref: Who, body: Why, db: Db) -> DatabaseJson:
    """Forbid erasing a customer, until the hold is taken away."""
    return DatabaseJson(await queries.put_legal_hold(db, actor, ref, body))


@router.delete("/{ref}/legal-hold", status_code=204, summary="Take a legal hold away", responses=problems(*_WRITING))
async def delete_legal_hold(actor: AdminActor, ref: Who, db: Db) -> None:
    """Allow erasing a customer again; without a hold nothing changes."""
    await queries.delete_legal_hold(db, actor, ref)
