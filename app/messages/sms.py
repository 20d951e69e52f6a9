"""SMS over HTTP in Twilio's format: messages out, and the words of those who answer."""

import base64
import hashlib
import hmac
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import Any, Literal

import httpx2
import phonenumbers

from app.messages.delivery import Delivery
from app.settings import Settings

PATIENCE = 5.0
# by how much a provider's clock may be behind ours
CLOCKS = timedelta(minutes=1)
# docs.twilio.com: the words that its own opt-out handling knows
STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "OPTOUT", "REVOKE"})
START_WORDS = frozenset({"START", "YES", "UNSTOP"})


class Texter:
    """Sends SMS through the provider at SMS_URL. Raises ValueError where there is none."""

    def __init__(self, settings: Settings) -> None:
        if None in (settings.sms_url, settings.sms_account, settings.sms_token, settings.sms_from):
            msg = "SMS_URL, SMS_ACCOUNT, SMS_TOKEN or SMS_FROM is not set"
            raise ValueError(msg)
        base = str(settings.sms_url).rstrip("/")
        self._url = f"{base}/2010-04-01/Accounts/{settings.sms_account}/Messages.json"
        self._auth = (settings.sms_account or "", settings.sms_token.get_secret_value() if settings.sms_token else "")
        self._from = settings.sms_from or ""

    async def send(self, number: str, text: str) -> Delivery:
        """What the provider said of one message to one E.164 number."""
        sender = "MessagingServiceSid" if self._from.startswith("MG") else "From"
        try:
            async with self._client() as client:
                answer = await client.post(self._url, data={"To": number, sender: self._from, "Body": text})
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            return Delivery("unavailable", type(error).__name__)
        except httpx2.HTTPError as error:
            return Delivery("unclear", type(error).__name__)
        return _delivery(answer)

    async def find(self, number: str, text: str, since: datetime) -> Delivery | None:
        """A message with that text to that number, as `sent`; None where there is none since then; or `unclear`."""
        wanted = {"To": number, "DateSent>": (since - CLOCKS).date().isoformat(), "PageSize": "100"}
        try:
            async with self._client() as client:
                answer = await client.get(self._url, params=wanted)
            if answer.status_code != HTTPStatus.OK:
                return Delivery("unclear", str(answer.status_code))
            for message in answer.json()["messages"]:
                is_new = parsedate_to_datetime(message["date_created"]) >= since - CLOCKS
                if (message["to"], message["body"]) == (number, text) and is_new:
                    return Delivery("sent", provider_ref=str(message["sid"]))
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            return Delivery("unclear", type(error).__name__)
        return None

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            auth=self._auth, timeout=PATIENCE, follow_redirects=False, trust_env=False, verify=_certificates()
        )


@cache
def _certificates() -> ssl.SSLContext:
    # reading them takes longer than a message does
    return ssl.create_default_context()


def _delivery(answer: httpx2.Response) -> Delivery:
    told = _json(answer)
    if answer.is_success:
        # whoever accepts it without a name for it has it all the same
        return Delivery("sent", provider_ref=str(told.get("sid", "")) or None)
    detail = str(told.get("code") or answer.status_code)
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        after = answer.headers.get("retry-after", "")
        return Delivery("unavailable", detail, retry_after=timedelta(seconds=int(after)) if after.isdecimal() else None)
    if answer.is_server_error or answer.status_code == HTTPStatus.REQUEST_TIMEOUT:
        return Delivery("unclear", detail)
    # our account, or our address of the provider: nothing that this message could help
    is_ours = answer.is_redirect or answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    return Delivery("unavailable" if is_ours else "refused", detail)


def _json(answer: httpx2.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def e164(phone: str, region: str | None) -> str | None:
    """The number as +306912345678; None where it is none. Without a country code it is one of the region."""
    try:
        number = phonenumbers.parse(phone, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def is_signed(signature: str, url: str, form: Sequence[tuple[str, str]], token: str) -> bool:
    """Whether the X-Twilio-Signature belongs to this form, posted to this address."""
    text = url + "".join(name + value for name, value in sorted(form))
    expected = base64.b64encode(hmac.digest(token.encode(), text.encode(), hashlib.sha1))
    return hmac.compare_digest(expected, signature.encode())


def wish_of(form: Sequence[tuple[str, str]]) -> Literal["stop", "start"] | None:
    """What somebody who answered asks for; None for anything else."""
    given = dict(form)
    word = (given.get("OptOutType") or given.get("Body", "")).strip().upper()
    return "stop" if word in STOP_WORDS else "start" if word in START_WORDS else None
