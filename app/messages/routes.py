"""/v1/messages and what decides of them: channels, preferences, and the words of those who answer an SMS."""

from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from jinja2 import TemplateError

from app.customer import require_own
from app.database import Db
from app.errors import UNREADABLE, Problem, problems
from app.messages import queries, sms
from app.messages.mail import Mailer
from app.messages.rendering import facts_of, templates_of
from app.messages.schemas import (
    ChannelName,
    Channels,
    ChannelSwitch,
    CustomerPreferences,
    MessageFilters,
    MessagePage,
    Preferences,
    Preview,
    PreviewRequest,
    Sample,
)
from app.openapi import operation_id
from app.responses import DatabaseJson
from app.schemas import Name
from app.security import AdminActor, CustomerActor, FrontendActor

router = APIRouter(prefix="/v1", tags=["messages"], generate_unique_id_function=operation_id)
Ref = Annotated[Name, Path()]
NOBODY = "00000000-0000-0000-0000-000000000000"
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "properties": {"From": {"type": "string"}, "Body": {"type": "string"}},
                    "required": ["From"],
                }
            }
        },
    }
}


class TwilioSignature(SecurityBase):
    """The signature of a Twilio webhook, made with SMS_TOKEN over SMS_INBOUND_URL and the form."""

    model = APIKey.model_validate({"in": APIKeyIn.header, "name": "X-Twilio-Signature"})
    scheme_name = "twilio_signature"

    async def __call__(self, request: Request) -> list[tuple[str, str]]:
        """The form that was posted. Raises Problem `unauthorized`, or `not_configured` without the settings."""
        settings = request.app.state.settings
        if settings.sms_token is None or settings.sms_inbound_url is None:
            raise Problem("not_configured", "SMS_TOKEN or SMS_INBOUND_URL is not set.")
        form = parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True)
        signature = request.headers.get("x-twilio-signature", "")
        if not sms.is_signed(signature, str(settings.sms_inbound_url), form, settings.sms_token.get_secret_value()):
            raise Problem("unauthorized", "The X-Twilio-Signature does not belong to this form and SMS_INBOUND_URL.")
        return form


@router.post(
    "/sms-inbound",
    status_code=204,
    summary="Take an SMS",
    responses=problems("unauthorized", *UNREADABLE, "not_configured"),
    openapi_extra=FORM,
)
async def take_sms(form: Annotated[list[tuple[str, str]], Depends(TwilioSignature())], db: Db) -> None:
    """Take what somebody answered, in Twilio's format: after STOP no SMS goes to that number, after START it may again.

    Other words change nothing. Name this address to the provider, and set SMS_INBOUND_URL to it.
    """
    number = sms.e164(dict(form).get("From", ""), None)
    if number is None:
        error = {"field": "body.From", "message": "must be a telephone number in E.164"}
        raise Problem("validation", "body.From: must be a telephone number in E.164", {"errors": [error]})
    wish = sms.wish_of(form)
    if wish is not None:
        await queries.put_sms_opt_out(db, number, is_opted_out=wish == "stop")


@router.get(
    "/messages",
    response_model=MessagePage,
    summary="List messages",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_messages(_actor: FrontendActor, db: Db, filters: Annotated[MessageFilters, Query()]) -> DatabaseJson:
    """List the messages that pass every given filter, in order of creation, with what became of each."""
    return DatabaseJson(await queries.list_messages(db, filters))


@router.post(
    "/messages/preview",
    summary="Preview a message",
    responses=problems("unauthorized", "forbidden", *UNREADABLE, "invalid_template"),
)
async def preview_message(_actor: AdminActor, body: PreviewRequest, request: Request) -> Preview:
    """Render a template in a language, filled with a sample. Nothing is sent."""
    settings = request.app.state.settings
    templates = templates_of(settings.message_templates, settings.message_language)
    try:
        rendered = templates.render(body.template, body.language, _sample(body.sample))
    except TemplateError as error:
        raise Problem("invalid_template", f"{type(error).__name__}: {error.message}") from None
    return Preview(**rendered._asdict())


def _sample(sample: Sample) -> dict[str, Any]:
    booking = sample.model_dump(mode="json", include={"starts_at", "ends_at", "expires_at", "reference", "units"})
    fixed = {"id": NOBODY, "status": "confirmed", "payment_method": "pay_on_arrival"}
    proposed = {"id": NOBODY, "starts_at": booking["starts_at"], "ends_at": booking["ends_at"]}
    body = {
        "customer": {"name": sample.customer_name, "timezone": sample.timezone},
        "resource": {"name": sample.resource_name, "timezone": sample.timezone},
        "booking": booking | fixed | {"version": 1, "created_at": None, "updated_at": None},
        "prebooking": {
            "provider": sample.resource_name,
            "target": {"date": booking["starts_at"][:10]},
            "confirmation": sample.reference,
        },
        "auto_sync": {
            "event_name": sample.event_name,
            "organizer_name": sample.customer_name,
            "times": [proposed],
            "winning_time_id": NOBODY,
            "is_booked": True,
            "booking_error": None,
            "reference": sample.reference,
        },
    }
    return facts_of(body, sample.link)


@router.get(
    "/message-channels",
    response_model=Channels,
    summary="List message channels",
    responses=problems("unauthorized", "forbidden", "validation"),
)
async def list_channels(_actor: AdminActor, db: Db) -> DatabaseJson:
    """List the ways to reach customers, and whether messages go out over them."""
    return DatabaseJson(await queries.list_channels(db))


@router.put(
    "/message-channels/{name}",
    response_model=Channels,
    summary="Enable or disable a message channel",
    responses=problems("unauthorized", "forbidden", *UNREADABLE, "not_configured"),
)
async def put_channel(
    actor: AdminActor, name: ChannelName, body: ChannelSwitch, request: Request, db: Db
) -> DatabaseJson:
    """Let messages go out over a channel from now on, or make none for it any more; those not yet sent are skipped."""
    if body.is_enabled:
        try:
            (Mailer if name == "email" else sms.Texter)(request.app.state.settings)
        except ValueError as error:
            raise Problem("not_configured", f"{error}.") from None
    return DatabaseJson(await queries.put_channel(db, actor, name, is_enabled=body.is_enabled))


@router.get(
    "/customers/{ref}/preferences",
    response_model=CustomerPreferences,
    summary="Read a customer's preferences",
    responses=problems("unauthorized", "forbidden", "not_found", "validation"),
)
async def get_preferences(actor: CustomerActor, ref: Ref, db: Db) -> DatabaseJson:
    """Read how a customer wants to be told; of one who is not known yet, the defaults."""
    require_own(actor, ref)
    return DatabaseJson(await queries.get_preferences(db, ref))


@router.put(
    "/customers/{ref}/preferences",
    response_model=CustomerPreferences,
    summary="Set a customer's preferences",
    responses=problems("unauthorized", "forbidden", "not_found", *UNREADABLE),
)
async def put_preferences(actor: CustomerActor, ref: Ref, body: Preferences, db: Db) -> DatabaseJson:
    """Say how a customer wants to be told: language, whose night is quiet, and what not to send."""
    require_own(actor, ref)
    return DatabaseJson(await queries.put_preferences(db, actor, ref, body))
