"""Whom a request is for: the customer that it names, or the one whose token it carries."""

from app.errors import Problem
from app.schemas import CustomerInput
from app.security import Actor


def customer_of(actor: Actor, given: CustomerInput | None) -> dict[str, str]:
    """The customer as SQL functions take it in `p_customer`.

    Raises Problem `validation` when there is none, and `forbidden` when a customer's token names another.
    """
    customer = given.model_dump(exclude_none=True) if given else {}
    if actor.customer_ref is not None:
        if customer.setdefault("ref", actor.customer_ref) != actor.customer_ref:
            raise Problem("forbidden", "A customer's token books for that customer alone.")
    elif not customer:
        error = {"field": "body.customer", "message": "Field required"}
        raise Problem("validation", "body.customer: Field required", {"errors": [error]})
    return customer


def require_own(actor: Actor, ref: str) -> None:
    """Return if the actor may see that customer. Raises Problem `not_found` when a customer's token is another's."""
    if actor.customer_ref not in (None, ref):
        raise Problem("not_found")


def customer_ref_of(actor: Actor, given: str | None, field: str) -> str:
    """The `ref` of the customer, which the request may name in `field`.

    Raises Problem `validation` when there is none, and `forbidden` when a customer's token names another.
    """
    ref = given or actor.customer_ref
    if ref is None:
        error = {"field": field, "message": "Field required"}
        raise Problem("validation", f"{field}: Field required", {"errors": [error]})
    if actor.customer_ref not in (None, ref):
        raise Problem("forbidden", "A customer's token acts for that customer alone.")
    return ref
