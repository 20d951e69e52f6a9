"""/v1/payment-events: payment providers tell us, and admins look what became of it."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase

from app.database import Db
from app.errors import UNREADABLE, Problem, problems
from app.openapi import operation_id
from app.payments import queries, stripe
from app.payments.schemas import Outcome, PaymentEvent, PaymentEventPage, StripeEvent
from app.responses import DatabaseJson
from app.security import Actor, AdminActor, actor_of

router = APIRouter(prefix="/v1/payment-events", tags=["payments"], generate_unique_id_function=operation_id)


class StripeSignature(SecurityBase):
    """The signature of a Stripe webhook, made with STRIPE_WEBHOOK_SECRET."""

    model = APIKey.model_validate({"in": APIKeyIn.header, "name": "Stripe-Signature"})
    scheme_name = "stripe_signature"

    async def __call__(self, request: Request) -> Actor:
        """The actor `stripe`. Raises Problem `unauthorized`, or `not_configured` without the secret."""
        secret = request.app.state.settings.stripe_webhook_secret
        if secret is None:
            raise Problem("not_configured", "STRIPE_WEBHOOK_SECRET is not set.")
        header = request.headers.get("stripe-signature", "")
        if not stripe.is_signed(header, await request.body(), secret.get_secret_value(), time.time()):
            raise Problem("unauthorized", "The Stripe-Signature does not belong to this body, or is too old.")
        return actor_of(request, "system", "stripe")


@router.post(
    "/stripe",
    response_model=PaymentEvent,
    summary="Take a Stripe webhook",
    responses=problems("unauthorized", "version_conflict", *UNREADABLE, "not_configured"),
)
async def take_stripe_event(
    actor: Annotated[Actor, Depends(StripeSignature())], body: StripeEvent, db: Db
) -> DatabaseJson:
    """Record what Stripe says of a booking's payment, once for each event. Name this address as the endpoint.

    Put the booking's id into the checkout session's `metadata.booking_id` (and into its payment intent's) or its
    `client_reference_id`. Money that came for a place that is gone is not refused, which Stripe would only repeat, but
    kept with `action: refund`: `GET /v1/payment-events?outcome=hold_expired` lists it.
    """
    recorded = await queries.record_payment_event(
        db, actor, body.id, body.type, stripe.booking_of(body), stripe.payment_status_of(body)
    )
    return DatabaseJson(recorded)


@router.get(
    "",
    response_model=PaymentEventPage,
    summary="List payment events",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_payment_events(
    _actor: AdminActor,
    db: Db,
    outcome: Outcome | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> DatabaseJson:
    """List what payment providers told us, with what became of it and what a person has to do."""
    return DatabaseJson(await queries.list_payment_events(db, outcome, limit, cursor))
