"""Texts are only texts: each comes back as it was put, and none becomes a header, a template or markup.

There is no export that a spreadsheet would open: what leaves are JSON, calendars and messages.
"""

from email import message_from_bytes
from email.policy import default
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from app.messages.mail import Mailer
from app.messages.rendering import Templates, facts_of
from app.settings import Settings
from tests.api.calls import booking_body
from tests.factories import TOMORROW
from tests.hostile.conftest import Target
from tests.hostile.values import TEXTS

KEPT = [text for text in TEXTS if text.strip() and "\0" not in text and "\ud800" not in text and len(text) <= 200]
HEADERS = {"From", "To", "Subject", "Message-ID", "Auto-Submitted", "Content-Language", "MIME-Version", "Content-Type"}


@pytest.mark.parametrize("text", KEPT, ids=range(len(KEPT)))
async def test_a_text_is_read_as_it_was_written(target: Target, text: str) -> None:
    client, known = target.client, target.known
    # a ref of its own: the same one is the same customer
    ref = f"{text.strip()[:150]}{uuid4().hex}"

    made = await client.post(
        "/v1/bookings", json=booking_body(known["slot_id"], customer={"ref": ref}, metadata={"a": text})
    )
    assert made.status_code == 201, made.text
    path = made.headers["location"]
    await client.post(f"{path}/cancel", json={"reason": text}, headers={"If-Match": '"1"'})
    resource = await client.post("/v1/resources", json={"name": text, "timezone": "UTC", "metadata": {text: text}})

    read = (await client.get(path)).json()
    assert (read["metadata"], read["customer_ref"]) == ({"a": text}, ref)
    assert (await client.get(f"{path}/history")).json()["items"][-1]["reason"] == text.strip()
    found = (await client.get("/v1/bookings", params={"customer_ref": ref})).json()["items"]
    assert [booking["id"] for booking in found] == [read["id"]]
    kept = (await client.get(resource.headers["location"])).json()
    assert (kept["name"], kept["metadata"]) == (text.strip(), {text: text})


def facts(name: str, place: str) -> dict[str, Any]:
    """What a message about a booking of that person at that place is made of."""
    booking = {
        "id": str(uuid4()),
        "status": "confirmed",
        "reference": "N4C2ZR9",
        "units": 1,
        "version": 1,
        "starts_at": TOMORROW.isoformat(),
        "ends_at": TOMORROW.isoformat(),
        "expires_at": None,
        "created_at": TOMORROW.isoformat(),
        "updated_at": TOMORROW.isoformat(),
    }
    resource = {"name": place, "timezone": "UTC"}
    about = {"booking": booking, "prebooking": None, "auto_sync": None}
    return facts_of({"customer": {"name": name}, "resource": resource} | about)


@pytest.fixture(scope="module")
def mailer() -> Mailer:
    return Mailer(Settings(_env_file=None, smtp_url=SecretStr("smtp://127.0.0.1:1"), mail_from="Us <us@example.com>"))


@pytest.mark.parametrize("text", KEPT, ids=range(len(KEPT)))
def test_a_name_is_no_header_no_template_and_no_markup(mailer: Mailer, text: str) -> None:
    told = facts(text, text)
    rendered = Templates(None, "en").render("booking_confirmed", "en", told)

    mail = mailer.compose(uuid4(), "booking_confirmed", {"name": text, "email": "ann@example.com"}, rendered, told)
    sent = message_from_bytes(mail.as_bytes(), policy=default)

    assert set(sent.keys()) == HEADERS
    assert [address.addr_spec for address in sent["To"].addresses] == ["ann@example.com"]
    assert "\n" not in rendered.subject + rendered.sms
    assert text.strip() in rendered.text
    assert "<script" not in rendered.html
    assert text.strip() in unescape(rendered.html)


@pytest.mark.parametrize(
    "email",
    [
        "ann@example.com\r\nBcc: eve@example.com",
        "ann@example.com, eve@example.com",
        "Ann <ann@example.com>",
        "@",
        "a@b",
        "",
    ],
)
def test_an_address_that_is_more_than_one_address_is_none(mailer: Mailer, email: str) -> None:
    told = facts("Ann", "Pitch")
    rendered = Templates(None, "en").render("booking_confirmed", "en", told)

    with pytest.raises(ValueError, match=r"."):
        mailer.compose(uuid4(), "booking_confirmed", {"name": "Ann", "email": email}, rendered, told)
