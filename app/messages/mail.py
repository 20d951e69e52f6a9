"""Email over SMTP."""

from collections.abc import Mapping
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib

from app.calendar_event import calendar_event, new_calendar
from app.messages.delivery import Delivery
from app.messages.rendering import Rendered
from app.settings import Settings, is_loopback

# Seconds, of each step. A handler's limit ends them all.
PATIENCE = 5.0
PERMANENT = 500
# those that say where to be and when, and take that back
CALENDAR_METHODS = {"booking_confirmed": "PUBLISH", "booking_rescheduled": "PUBLISH", "booking_cancelled": "CANCEL"}
NOT_BEGUN = (
    aiosmtplib.SMTPConnectError,
    aiosmtplib.SMTPHeloError,
    aiosmtplib.SMTPAuthenticationError,
    aiosmtplib.SMTPNotSupported,
)


class Mailer:
    """Sends mail through the server of SMTP_URL, one connection a message. Raises ValueError where there is none."""

    def __init__(self, settings: Settings) -> None:
        if settings.smtp_url is None or settings.mail_from is None:
            msg = "SMTP_URL or MAIL_FROM is not set"
            raise ValueError(msg)
        url = urlsplit(settings.smtp_url.get_secret_value())
        self._host = url.hostname or ""
        self._is_tls = url.scheme == "smtps"
        self._port = url.port or (465 if self._is_tls else 587)
        self._username = unquote(url.username) if url.username else None
        self._password = unquote(url.password) if url.password else None
        name, address = parseaddr(settings.mail_from)
        self._sender = Address(name, addr_spec=address)

    def compose(
        self, message_id: UUID, template: str, customer: Mapping[str, Any], rendered: Rendered, facts: Mapping[str, Any]
    ) -> EmailMessage:
        """The mail, under the message's id at every attempt. Raises ValueError for an address that is none."""
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = _recipient(customer)
        message["Subject"] = rendered.subject
        message["Message-ID"] = f"<{message_id}@{self._sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(rendered.text)
        message.add_alternative(rendered.html, subtype="html")
        method = CALENDAR_METHODS.get(template)
        booking = facts["booking"]
        if method and booking["status"] in ("confirmed", "cancelled"):
            calendar = new_calendar()
            calendar.add("method", method)
            calendar.add_component(calendar_event(booking, facts["resource"]["name"]))
            message.add_attachment(
                calendar.to_ical(),
                maintype="text",
                subtype="calendar",
                filename="booking.ics",
                params={"method": method, "charset": "utf-8"},
            )
        # last, for each new part takes the headers of this kind along
        message["Content-Language"] = rendered.language
        return message

    async def send(self, message: EmailMessage) -> Delivery:
        """What the server said. A password goes over TLS, or to this machine, or nowhere."""
        must_be_safe = self._username is not None and not is_loopback(self._host)
        try:
            await aiosmtplib.send(
                message,
                hostname=self._host,
                port=self._port,
                username=self._username,
                password=self._password,
                use_tls=self._is_tls,
                start_tls=None if not must_be_safe or self._is_tls else True,
                timeout=PATIENCE,
            )
        except NOT_BEGUN as error:
            return Delivery("unavailable", _code(error))
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _refusal(error.recipients[0])
        except aiosmtplib.SMTPResponseException as error:
            return _refusal(error)
        except (aiosmtplib.SMTPException, OSError) as error:
            return Delivery("unclear", type(error).__name__)
        return Delivery("sent", provider_ref=message["Message-ID"])


def _recipient(customer: Mapping[str, Any]) -> Address:
    """The customer's address. Raises ValueError where it is none, or tries to be more than one header."""
    name = " ".join((customer["name"] or "").split())
    local, _, domain = customer["email"].rpartition("@")
    try:
        address = Address(name, addr_spec=f"{local}@{domain.encode('idna').decode()}")
    except (MessageError, UnicodeError, IndexError) as error:
        raise ValueError(type(error).__name__) from None
    if not local or not address.addr_spec.isascii() or "." not in address.domain.strip("."):
        msg = "no address"
        raise ValueError(msg)
    return address


def _refusal(error: aiosmtplib.SMTPResponseException) -> Delivery:
    return Delivery("refused" if error.code >= PERMANENT else "unavailable", str(error.code))


def _code(error: Exception) -> str:
    return str(error.code) if isinstance(error, aiosmtplib.SMTPResponseException) else type(error).__name__
