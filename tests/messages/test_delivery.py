"""What mail servers and SMS providers may answer, and what becomes of the message then."""

import json
import logging
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from app.database import Database
from app.messages.handlers import send_message
from app.messages.sms import STOP_WORDS, e164, is_signed, wish_of
from app.settings import Settings
from tests.factories import Factory, create_booking
from tests.jobs.support import hurry, statuses
from tests.messages.support import (
    CUSTOMER,
    NUMBER,
    SMS_TOKEN,
    SMTP_PASSWORD,
    MailServer,
    SmsProvider,
    messages,
    run,
)
from tests.sql.support import call, one

STATE = "SELECT status, reason, detail FROM messages"


async def booked(make: Factory, **customer: Any) -> None:
    await make.booking(p_customer=json.dumps(CUSTOMER | customer))


@pytest.mark.usefixtures("by_email")
@pytest.mark.parametrize("where", ["rcpt_answer", "data_answer"])
async def test_a_mail_that_is_refused_for_now_goes_out_later_under_the_same_id(
    conn: asyncpg.Connection,
    make: Factory,
    database: Database,
    settings: Settings,
    mail: MailServer,
    where: str,
) -> None:
    await booked(make)
    setattr(mail, where, "451 later")
    await run(database, settings)
    waiting = await one(conn, STATE)
    setattr(mail, where, "250 OK")
    await hurry(conn)
    await run(database, settings)

    (message_id,) = await one(conn, "SELECT id FROM messages")
    assert waiting == ("pending", None, "451")
    assert [told["Message-ID"] for told in mail.mails] == [f"<{message_id}@example.com>"]
    assert await one(conn, "SELECT status, provider_ref FROM messages") == ("sent", f"<{message_id}@example.com>")


@pytest.mark.usefixtures("by_email")
@pytest.mark.parametrize("where", ["rcpt_answer", "data_answer"])
async def test_a_mail_that_is_refused_for_good_is_not_tried_again(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, mail: MailServer, where: str
) -> None:
    await booked(make)
    setattr(mail, where, "550 no such user ann@example.com")
    await run(database, settings)

    assert await one(conn, STATE) == ("failed", "refused", "550")
    assert await statuses(conn, "send_message") == {"discarded": 1}


@pytest.mark.usefixtures("by_email")
async def test_a_mail_server_that_is_away_costs_tries_and_then_the_message_has_failed(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings
) -> None:
    nowhere = settings.model_copy(update={"smtp_url": SecretStr("smtp://127.0.0.1:1")})
    await booked(make)
    for _ in range(4):
        await run(database, nowhere)
        await hurry(conn)
    later = await conn.fetchval("SELECT clock_timestamp() + interval '2 minutes'")
    await call(conn, "sweep_messages", p_limit=10, p_now=later)

    assert await one(conn, STATE) == ("failed", "gave_up", "SMTPConnectError")


@pytest.mark.usefixtures("by_email")
async def test_a_password_goes_nowhere_in_the_clear(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, mail: MailServer
) -> None:
    # by another name this machine is anybody's
    url = f"smtp://holdfast:{SMTP_PASSWORD}@127.0.0.1.nip.invalid:{mail.port}"
    elsewhere = settings.model_copy(update={"smtp_url": SecretStr(url)})
    await booked(make)
    await run(database, elsewhere)

    assert mail.logins == []
    assert (await one(conn, STATE))[0] == "pending"


@pytest.mark.usefixtures("by_email")
async def test_a_process_without_a_mail_server_leaves_the_message_to_others(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, mail: MailServer
) -> None:
    await booked(make)
    await run(database, settings.model_copy(update={"smtp_url": None}))
    assert await one(conn, "SELECT status, attempt FROM jobs WHERE job_type = 'send_message'") == ("pending", 0)
    await hurry(conn)
    await run(database, settings)

    assert len(mail.mails) == 1


@pytest.mark.usefixtures("by_email")
@pytest.mark.parametrize(
    "customer",
    [
        {"name": "Ann\r\nBcc: eve@example.com"},
        {"name": "Ann\nX-Evil: 1\n\nbody"},
        {"name": '"Ann" <eve@example.com>, '},
    ],
)
async def test_a_name_is_a_name_and_no_header(
    make: Factory, database: Database, settings: Settings, mail: MailServer, customer: dict[str, str]
) -> None:
    await booked(make, **customer)
    await run(database, settings)

    (told,) = mail.mails
    assert [address.addr_spec for address in told["To"].addresses] == ["ann@example.com"]
    assert (told["Bcc"], told["X-Evil"]) == (None, None)


@pytest.mark.usefixtures("by_email")
@pytest.mark.parametrize(
    "email",
    [
        "ann@example.com\r\nBcc: eve@example.com",
        "ann@example.com, eve@example.com",
        "ann",
        "@example.com",
        "ann@",
        "a nn@example.com",
        "<ann@example.com>",
    ],
)
async def test_what_is_no_address_gets_no_mail(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, mail: MailServer, email: str
) -> None:
    await booked(make, email=email)
    await run(database, settings)

    assert await one(conn, STATE) == ("failed", "invalid_address", None)
    assert mail.mails == []


@pytest.mark.usefixtures("by_email")
async def test_a_resource_of_several_lines_is_one_line_of_a_subject(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, mail: MailServer
) -> None:
    slot_id = await make.slot(await make.resource("Court 1\r\nBcc: eve@example.com"))
    await create_booking(conn, slot_id, p_customer=json.dumps(CUSTOMER))
    await run(database, settings)

    assert mail.subjects[0].startswith("Booked: Court 1 Bcc: eve@example.com, ")
    assert mail.mails[0]["Bcc"] is None


@pytest.mark.usefixtures("by_sms")
@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((400, {"code": 21211}), ("failed", "refused", "21211")),
        ((400, {"code": 21610}), ("failed", "refused", "21610")),
        ((404, {}), ("failed", "refused", "404")),
        ((401, {"code": 20003}), ("pending", None, "20003")),
        ((302, {}), ("pending", None, "302")),
        ((429, {"code": 20429}), ("pending", None, "20429")),
        ((503, {}), ("sending", None, "503")),
    ],
)
async def test_what_a_provider_answers_an_sms(
    conn: asyncpg.Connection,
    make: Factory,
    database: Database,
    settings: Settings,
    sms: SmsProvider,
    answer: tuple[int, dict[str, Any]],
    state: tuple[Any, ...],
) -> None:
    await booked(make)
    sms.answers = [answer]
    await run(database, settings)

    assert await one(conn, STATE) == state
    assert sms.asked == ["/2010-04-01/Accounts/AC1/Messages.json"]
    if state[0] != "failed":
        await hurry(conn)
        await run(database, settings)
        assert await one(conn, "SELECT status, provider_ref FROM messages") == ("sent", "SM0")
        assert [(message["to"], message["sid"]) for message in sms.taken] == [(NUMBER, "SM0")]


@pytest.mark.usefixtures("by_sms")
async def test_a_provider_says_how_long_to_wait(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, sms: SmsProvider
) -> None:
    await booked(make)
    sms.answers = [(429, {})]
    await run(database, settings)

    waits = "SELECT run_at - updated_at >= interval '7 seconds' FROM jobs WHERE job_type = 'send_message'"
    assert await conn.fetchval(waits) is True


@pytest.mark.usefixtures("by_sms")
async def test_an_sms_of_which_no_answer_came_is_looked_up_and_not_sent_twice(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, sms: SmsProvider
) -> None:
    await booked(make)
    sms.hangs_up = True
    await run(database, settings)
    assert (await one(conn, STATE))[0] == "sending"
    await hurry(conn)
    await run(database, settings)

    assert await one(conn, "SELECT status, provider_ref FROM messages") == ("sent", "SM0")
    assert len(sms.taken) == 1


@pytest.mark.usefixtures("channels")
async def test_of_what_may_have_left_nothing_more_goes_out_when_it_is_no_longer_true(
    conn: asyncpg.Connection,
    make: Factory,
    database: Database,
    settings: Settings,
    mail: MailServer,
    sms: SmsProvider,
) -> None:
    await booked(make)
    mail.data_answer = "451 later"
    sms.answers = [(503, {})]
    await run(database, settings)
    # as a crash would leave it
    await conn.execute("UPDATE messages SET status = 'sending', sending_at = now()")
    await conn.execute("UPDATE bookings SET status = 'cancelled'")
    await conn.execute("UPDATE customers SET email_opt_out = true, sms_opt_out = true")
    await hurry(conn)
    await run(database, settings)

    confirmations = [row[2:] for row in await messages(conn) if row[1] == "booking_confirmed"]
    assert confirmations == [("skipped", "outdated")] * 2
    assert (mail.mails, sms.taken) == ([], [])


@pytest.mark.usefixtures("by_sms")
async def test_nobody_who_said_stop_gets_an_sms_under_whichever_name(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, sms: SmsProvider
) -> None:
    await call(conn, "put_sms_opt_out", p_number=NUMBER, p_is_opted_out=True)
    await booked(make)
    await booked(make, ref="guest", phone="0030 691 2345678")
    await run(database, settings.model_copy(update={"sms_region": "GR"}))

    assert {row[2:] for row in await messages(conn)} == {("skipped", "opted_out")}
    assert sms.taken == []


@pytest.mark.parametrize(
    ("phone", "region", "number"),
    [
        ("+30 691 234 5678", None, NUMBER),
        ("691 234 5678", "GR", NUMBER),
        ("0030 691 234 5678", "GR", NUMBER),
        ("(202) 456-1111", "US", "+12024561111"),
        ("691 234 5678", None, None),
        ("+30 12", None, None),
        ("+1 000 000 0000", None, None),
        ("call me", "GR", None),
        ("", "GR", None),
        ("+30691234567\r\n8", None, None),
    ],
)
def test_a_number_is_e164_or_none(phone: str, region: str | None, number: str | None) -> None:
    assert e164(phone, region) == number


@pytest.mark.usefixtures("by_sms")
async def test_what_is_no_number_gets_no_sms(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, sms: SmsProvider
) -> None:
    await booked(make, phone="691 234 5678")
    await run(database, settings)

    assert await one(conn, STATE) == ("failed", "invalid_address", None)
    assert sms.asked == []


def test_a_signature_is_of_one_form_at_one_address() -> None:
    # the example of Twilio's own documentation
    url = "https://example.com/myapp.php?foo=1&bar=2"
    form = [("CallSid", "CA1234567890ABCDE"), ("Caller", "+14158675310"), ("Digits", "1234")]
    form += [("From", "+14158675310"), ("To", "+18005551212")]
    signature = "L/OH5YylLD5NRKLltdqwSvS0BnU="

    assert is_signed(signature, url, form, "12345")
    assert not is_signed(signature, url, form[1:], "12345")
    assert not is_signed(signature, url + "&baz=3", form, "12345")
    assert not is_signed(signature, url, form, "12346")
    assert not is_signed("ü", url, form, "12345")


@pytest.mark.parametrize("word", [*sorted(STOP_WORDS), " stop ", "Stop"])
def test_who_says_stop_means_stop(word: str) -> None:
    assert wish_of([("From", NUMBER), ("Body", word)]) == "stop"


def test_other_words_mean_nothing_and_start_means_start() -> None:
    assert wish_of([("Body", "please stop by")]) is None
    assert wish_of([]) is None
    assert wish_of([("Body", "start")]) == "start"
    assert wish_of([("Body", "ΣΤΟΠ"), ("OptOutType", "STOP")]) == "stop"


@pytest.mark.usefixtures("channels")
async def test_secrets_and_addresses_are_found_nowhere_afterwards(
    conn: asyncpg.Connection,
    make: Factory,
    database: Database,
    settings: Settings,
    mail: MailServer,
    sms: SmsProvider,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    for answer in ("550 no ann@example.com", "451 not now, ann@example.com", "250 OK"):
        await booked(make)
        mail.rcpt_answer = answer
        sms.answers = [(503, {"message": NUMBER}), (400, {"code": 21211, "message": NUMBER})]
        await run(database, settings)
    assert mail.logins[0] == SMTP_PASSWORD

    tables = await conn.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'holdfast' AND tablename <> 'customers'"
    )
    stored = [str(await conn.fetch(f"SELECT t::text FROM {name} t")) for (name,) in tables]
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("mail.")]
    told = "\n".join([*stored, *ours, capsys.readouterr().out, repr(settings)])
    for secret in (SMTP_PASSWORD, SMS_TOKEN, "ann@example.com", NUMBER, CUSTOMER["phone"]):
        assert secret not in told, secret


@pytest.mark.usefixtures("by_email")
async def test_a_template_of_yours_that_is_broken_costs_tries_and_tells_no_more_than_its_kind(
    conn: asyncpg.Connection, make: Factory, database: Database, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "booking_confirmed.txt.jinja").write_text("{{ customer.password }}")
    await booked(make)
    await run(database, settings.model_copy(update={"message_templates": tmp_path}))

    assert await one(conn, "SELECT error_message FROM jobs WHERE job_type = 'send_message'") == ("UndefinedError",)


async def test_a_handler_says_for_which_jobs_it_is(database: Database, settings: Settings) -> None:
    handler = send_message(database, settings)

    assert (handler.job_type, handler.queue) == ("send_message", "messages")
    assert handler.limit < 8
