"""The whole life of an auto-sync, told over SMTP, SMS and webhooks by the real protocols, answered by its links."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from email.message import EmailMessage
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import asyncpg
import httpx2
import pytest

from app.database import Database
from app.messages.handlers import send_message
from app.settings import Settings
from app.webhooks.handlers import deliver_webhook
from tests.auto_syncs.conftest import PUBLIC_URL
from tests.credentials.support import FIRST, with_keys
from tests.factories import SYSTEM, TOMORROW, Factory
from tests.jobs.support import do_all, runner_of
from tests.messages.support import MailServer, SmsProvider, enable, mail_server, sms_provider, with_senders
from tests.sql.support import call_value
from tests.webhooks.support import Receiver, add_endpoint

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WEEK = TOMORROW + timedelta(days=7)


@pytest.fixture
async def mail() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
def sms() -> Iterator[SmsProvider]:
    with sms_provider() as server:
        yield server


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


@pytest.fixture
def settings(settings: Settings, mail: MailServer, sms: SmsProvider) -> Settings:
    """The installation's settings, with senders, and webhooks to this machine."""
    networks = (ip_network("127.0.0.0/8"),)
    return with_keys(with_senders(settings, mail, sms), FIRST).model_copy(update={"webhook_allowed_networks": networks})


class Scene:
    """An installation in which time passes when the test says so."""

    def __init__(self, conn: asyncpg.Connection, database: Database, settings: Settings) -> None:
        self.conn = conn
        self._runner = runner_of(database, send_message(database, settings), deliver_webhook(database, settings))

    async def send(self) -> None:
        """Send what is to be sent, as if its time had come, and what found no room at its receiver again."""
        while await hurry_messages(self.conn):
            await do_all(self._runner)

    async def sweep(self, function: str, after: timedelta) -> None:
        """What the processor does so long after now, three times over."""
        now = await self.conn.fetchval("SELECT now()") + after
        for times in (1, 0, 0):
            assert await call_value(self.conn, function, p_actor=SYSTEM, p_limit=100, p_now=now) == times
        await self.send()


async def hurry_messages(conn: asyncpg.Connection) -> int:
    """Let everything be due that is to be sent, and say how much that is."""
    due = "UPDATE jobs SET run_at = now() WHERE status = 'pending' AND queue IS NOT NULL RETURNING id"
    return len(await conn.fetch(due))


@pytest.fixture
async def scene(conn: asyncpg.Connection, database: Database, settings: Settings) -> Scene:
    await enable(conn, "email", "sms")
    return Scene(conn, database, settings)


def link_in(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    found = re.search(rf"{PUBLIC_URL}(/respond/\S+)", body.get_content())
    assert found is not None
    return found[1]


def to(mails: list[EmailMessage], subject: str) -> dict[str, EmailMessage]:
    """The mails with that beginning: whom to -> mail. One each."""
    found = [mail for mail in mails if mail["Subject"].startswith(subject)]
    by_address = {str(mail["To"].addresses[0].addr_spec).partition("@")[0]: mail for mail in found}
    assert len(by_address) == len(found)
    return by_address


async def ask(frontend: httpx2.AsyncClient, make: Factory) -> tuple[Any, list[UUID]]:
    resource_id = await make.resource("Court 1", "Europe/Athens")
    slots = [await make.slot(resource_id, starts_at=WEEK + timedelta(days=n)) for n in range(2)]
    crew = (
        await frontend.post("/v1/crews", json={"name": "Football", "organizer": {"ref": "org", "name": "Org"}})
    ).json()
    for n, ref in enumerate(("ann", "bob", "eve")):
        body = {"ref": ref, "name": ref.title(), "email": f"{ref}@example.com", "phone": f"+30691234567{n}"}
        language = {"language": "el"} if ref == "eve" else {}
        await frontend.post(f"/v1/crews/{crew['id']}/members", json=body | language)
    question = {
        "crew_id": crew["id"],
        "event_name": "Five-a-side",
        "timezone": "Europe/Athens",
        "resource_id": str(resource_id),
        "times": [{"slot_id": str(slot_id)} for slot_id in slots],
    }
    return (await frontend.post("/v1/auto-syncs", json=question)).json(), slots


async def test_from_the_invitation_to_the_booking(
    scene: Scene,
    frontend: httpx2.AsyncClient,
    public: httpx2.AsyncClient,
    make: Factory,
    mail: MailServer,
    sms: SmsProvider,
    receiver: Receiver,
) -> None:
    conn = scene.conn
    endpoint = await add_endpoint(conn, receiver.url)
    sync, slots = await ask(frontend, make)
    second = sync["times"][1]["id"]
    await scene.send()
    invited = to(mail.mails, "Five-a-side: ")
    assert invited.keys() == {"ann", "bob", "eve"}
    assert "έρθετε" in str(invited["eve"]["Subject"])
    assert len(sms.texts) == 3
    assert all(PUBLIC_URL in text for text in sms.texts)

    page = await public.post(
        link_in(invited["ann"]), content=urlencode({"answer": "accepted", "time": second}), headers=FORM
    )
    assert page.status_code == 200
    await scene.sweep("remind_due_auto_syncs", timedelta(hours=24))
    assert to(mail.mails, "Reminder: ").keys() == {"bob"}
    assert to(mail.mails, "Υπενθύμιση: ").keys() == {"eve"}
    assert {taken["to"][-1] for taken in sms.taken[3:]} == {"1", "2"}

    await frontend.post(f"/v1/auto-syncs/{sync['id']}/responses", json={"answer": "declined", "customer_ref": "bob"})
    await scene.sweep("pause_due_auto_syncs", timedelta(hours=48))
    assert (await frontend.get(f"/v1/auto-syncs/{sync['id']}")).json()["pause_reason"] == "goal_not_met"
    await frontend.post(f"/v1/auto-syncs/{sync['id']}/resume")
    eves = link_in(to(mail.mails, "Υπενθύμιση: ")["eve"])
    assert eves == link_in(invited["eve"])
    page = await public.post(eves, content=urlencode({"answer": "accepted", "time": second}), headers=FORM)
    assert "καταχωρίστηκε" in page.text
    await scene.send()

    done = (await frontend.get(f"/v1/auto-syncs/{sync['id']}")).json()
    assert (done["status"], done["winning_time_id"]) == ("completed", second)
    booked = (await frontend.get(f"/v1/bookings/{done['booking_id']}")).json()
    assert (booked["slot_id"], booked["customer_ref"]) == (str(slots[1]), "org")
    result = to(mail.mails[5:], "Five-a-side: ")
    assert result.keys() == {"ann", "bob", "eve"}
    text = result["ann"].get_body(("plain",))
    assert text is not None
    assert f"Booking reference: {booked['reference']}" in text.get_content()
    assert await conn.fetchval("SELECT count(*) FROM messages WHERE status <> 'sent'") == 0
    told = [received.verified(endpoint.secret)["type"] for received in receiver.received]
    assert sorted(kind for kind in told if kind.startswith("auto_sync.")) == sorted(
        [f"auto_sync.{kind}" for kind in ("created", "reminded", "paused", "resumed", "completed")]
        + ["auto_sync.responded"] * 3
    )
    assert "booking.created" in told
    assert (await public.get(eves)).status_code == 410


async def test_the_processor_reminds_and_pauses_by_itself(
    frontend: httpx2.AsyncClient, cron: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    sync, _ = await ask(frontend, make)

    for column, hours in (("reminded_at", 25), ("paused_at", 49)):
        await conn.execute("UPDATE auto_syncs SET started_at = now() - make_interval(hours => $1)", hours)
        report = (await cron.post("/cron/process-jobs")).json()
        assert report["processed"] >= 1
        assert (await frontend.get(f"/v1/auto-syncs/{sync['id']}")).json()[column] is not None
    assert (await cron.post("/cron/process-jobs")).json()["remaining_due"] == 0


async def test_no_secret_and_no_link_is_kept(
    scene: Scene, frontend: httpx2.AsyncClient, make: Factory, mail: MailServer, capfd: pytest.CaptureFixture[str]
) -> None:
    await ask(frontend, make)
    await scene.send()
    token = link_in(mail.mails[0]).rpartition("/")[2]

    for table in ("messages", "jobs", "audit_log", "job_attempts"):
        assert token not in str(await scene.conn.fetchval(f"SELECT string_agg(t::text, '') FROM {table} t"))
    said = capfd.readouterr()
    assert token not in said.out + said.err
