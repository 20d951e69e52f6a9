"""A mail server and an SMS provider that speak the real protocols, and shorthands for tests of messages."""

import asyncio
import email
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import default
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, parse_qsl, urlsplit

import asyncpg
from aiosmtpd import smtp
from pydantic import HttpUrl, SecretStr

from app.database import Database
from app.messages.handlers import send_message
from app.settings import Settings
from tests.factories import ACTOR as ADMIN
from tests.jobs.support import do_all, runner_of

SMTP_PASSWORD = "canary-of-the-mail-server"  # noqa: S105
SMS_TOKEN = "canary-of-the-sms-provider"  # noqa: S105
ACCEPTED = "250 OK"
CUSTOMER = {"ref": "ann", "name": "Ann", "email": "ann@example.com", "phone": "+30 691 234 5678"}
NUMBER = "+306912345678"


class MailServer:
    """What it answers a recipient and a body, and every mail it took."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.logins: list[str] = []
        self.rcpt_answer = ACCEPTED
        self.data_answer = ACCEPTED
        self.on_rcpt: Callable[[], None] = lambda: None
        self.on_data: Callable[[], None] = lambda: None
        self.port = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: smtp.SMTP, _session: smtp.Session, envelope: smtp.Envelope, address: str, _options: list[str]
    ) -> str:
        self.on_rcpt()
        if self.rcpt_answer == ACCEPTED:
            envelope.rcpt_tos.append(address)
        return self.rcpt_answer

    async def handle_DATA(self, _server: smtp.SMTP, _session: smtp.Session, envelope: smtp.Envelope) -> str:  # noqa: N802
        if self.data_answer == ACCEPTED:
            content = cast("bytes", envelope.content)
            self.mails.append(email.message_from_bytes(content, policy=default))
        self.on_data()
        return self.data_answer

    def login(self, _server: object, _session: object, _envelope: object, _how: str, data: Any) -> smtp.AuthResult:
        self.logins.append(data.password.decode())
        return smtp.AuthResult(success=True)

    @property
    def subjects(self) -> list[str]:
        return [mail["Subject"] for mail in self.mails]


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """A mail server on a port of its own."""
    mail = MailServer()

    def protocol() -> smtp.SMTP:
        return smtp.SMTP(mail, authenticator=mail.login, auth_require_tls=False, enable_SMTPUTF8=True)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    mail.port = server.sockets[0].getsockname()[1]
    async with server:
        yield mail


class SmsProvider(ThreadingHTTPServer):
    """Twilio's two calls: POST takes a message, GET lists what was taken. `answers` come before, one a POST."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Twilio)
        self.taken: list[dict[str, str]] = []
        self.answers: list[tuple[int, dict[str, Any]]] = []
        # takes the message, and hangs up instead of answering
        self.hangs_up = False
        self.on_taken: Callable[[], None] = lambda: None
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def texts(self) -> list[str]:
        return [message["body"] for message in self.taken]


class _Twilio(BaseHTTPRequestHandler):
    server: SmsProvider

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = dict(parse_qsl(body))
        self.server.asked.append(self.path)
        assert self.headers["Authorization"].startswith("Basic ")
        status, answer = self.server.answers.pop(0) if self.server.answers else (201, {})
        if status == 201:
            sid = f"SM{len(self.server.taken)}"
            made = format_datetime(datetime.now(UTC))
            self.server.taken.append({"sid": sid, "to": form["To"], "body": form["Body"], "date_created": made})
            self.server.on_taken()
            answer = {"sid": sid, "status": "queued"}
        if self.server.hangs_up:
            self.server.hangs_up = False
            self.connection.close()
            return
        self._answer(status, answer)

    def do_GET(self) -> None:
        to = parse_qs(urlsplit(self.path).query)["To"][0]
        self._answer(200, {"messages": [message for message in self.server.taken if message["to"] == to]})

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "7")
        if status == 302:
            self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: a test's output is its own."""


@contextmanager
def sms_provider() -> Iterator[SmsProvider]:
    """An SMS provider in a thread, on a port of its own."""
    with SmsProvider() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def with_senders(settings: Settings, mail: MailServer, sms: SmsProvider, **more: Any) -> Settings:
    """Settings by which messages go to these, at any hour unless the test says otherwise."""
    given = {
        "smtp_url": SecretStr(f"smtp://holdfast:{SMTP_PASSWORD}@127.0.0.1:{mail.port}"),
        "mail_from": "Courts <bookings@example.com>",
        "sms_url": HttpUrl(sms.url),
        "sms_account": "AC1",
        "sms_token": SecretStr(SMS_TOKEN),
        "sms_from": "+15005550006",
        "quiet_hours": "00:00-00:00",
    }
    return settings.model_copy(update=given | more)


async def enable(conn: asyncpg.Connection, *channels: str) -> None:
    """Let messages go out over these channels."""
    await conn.executemany("SELECT put_channel($1, $2, true)", [(ADMIN, channel) for channel in channels])


async def run(database: Database, settings: Settings) -> None:
    """Send what is due."""
    await do_all(runner_of(database, send_message(database, settings)))


async def messages(conn: asyncpg.Connection) -> list[tuple[str, str, str, str | None]]:
    """Every message: channel, template, status, reason."""
    rows = await conn.fetch("SELECT channel, template, status, reason FROM messages ORDER BY created_at, channel")
    return [tuple(row) for row in rows]
