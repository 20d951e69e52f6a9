"""Messages over HTTP: what was sent, how it looks, over which channels, and who wants what."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args
from urllib.parse import urlencode

import asyncpg
import httpx2
import jwt
import pytest
from fastapi import FastAPI
from pydantic import HttpUrl, SecretStr

from app.main import create_app
from app.messages.schemas import Template
from app.settings import Settings
from tests.api.calls import assert_problem
from tests.conftest import client_of
from tests.factories import Factory
from tests.sql.support import call_value

TOKEN = "a-token-of-the-provider"  # noqa: S105
INBOUND = "https://holdfast.test/v1/sms-inbound"
JWT_SECRET = "a-secret-for-tests-that-is-long-enough"  # noqa: S105
NUMBER = "+306912345678"
PREFERENCES = {"language": "el", "timezone": "Europe/Athens", "email_opt_out": True, "sms_opt_out": False}


@pytest.fixture
async def app(settings: Settings, tmp_path: Path) -> AsyncIterator[FastAPI]:
    """The application with a provider of SMS, an own folder of templates, and no mail server."""
    given = {
        "sms_url": HttpUrl("http://127.0.0.1:1"),
        "sms_account": "AC1",
        "sms_token": SecretStr(TOKEN),
        "sms_from": "+15005550006",
        "sms_inbound_url": HttpUrl(INBOUND),
        "jwt_secret": SecretStr(JWT_SECRET),
        "message_templates": tmp_path,
    }
    created = create_app(settings.model_copy(update=given))
    async with created.router.lifespan_context(created):
        yield created


async def inbound(client: httpx2.AsyncClient, token: str = TOKEN, **form: str) -> httpx2.Response:
    text = INBOUND + "".join(name + value for name, value in sorted(form.items()))
    signature = base64.b64encode(hmac.digest(token.encode(), text.encode(), hashlib.sha1)).decode()
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
    return await client.post("/v1/sms-inbound", content=urlencode(form), headers=headers)


async def test_who_answers_stop_is_left_alone_until_start(public: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    for word, is_opted_out in (("STOP", True), ("hello?", True), ("start", False)):
        assert (await inbound(public, From=NUMBER, Body=word)).status_code == 204
        assert await call_value(conn, "is_sms_opted_out", p_number=NUMBER) is is_opted_out


async def test_only_the_provider_may_say_so(public: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    assert_problem(await inbound(public, "another-token", From=NUMBER, Body="STOP"), 401, "unauthorized")
    assert_problem(await inbound(public, From="nobody", Body="STOP"), 422, "validation")
    assert_problem(await inbound(public, Body="STOP"), 422, "validation")
    assert await conn.fetchval("SELECT count(*) FROM sms_opt_outs") == 0


async def test_without_its_settings_nobody_may(settings: Settings) -> None:
    created = create_app(settings)
    async with created.router.lifespan_context(created), client_of(created) as client:
        assert_problem(await inbound(client, From=NUMBER, Body="STOP"), 503, "not_configured")


async def test_a_channel_is_enabled_where_it_is_set_up(admin: httpx2.AsyncClient) -> None:
    answer = await admin.put("/v1/message-channels/sms", json={"is_enabled": True})
    assert {item["name"]: item["is_enabled"] for item in answer.json()["items"]} == {"email": False, "sms": True}
    assert (await admin.get("/v1/message-channels")).json() == answer.json()

    assert_problem(await admin.put("/v1/message-channels/email", json={"is_enabled": True}), 503, "not_configured")
    assert (await admin.put("/v1/message-channels/email", json={"is_enabled": False})).status_code == 200
    assert_problem(await admin.put("/v1/message-channels/fax", json={"is_enabled": True}), 422, "validation")


async def test_messages_are_listed_without_text_and_address(
    admin: httpx2.AsyncClient, frontend: httpx2.AsyncClient, make: Factory
) -> None:
    await admin.put("/v1/message-channels/sms", json={"is_enabled": True})
    booking_id = await make.booking(p_customer=json.dumps({"ref": "ann", "phone": NUMBER}))

    for query in ("", "?customer_ref=ann&status=pending"):
        (item,) = (await frontend.get(f"/v1/messages{query}")).json()["items"]
        assert (item["template"], item["channel"], item["status"]) == ("booking_confirmed", "sms", "pending")
        assert (item["subject_id"], item["customer_ref"]) == (str(booking_id), "ann")
        assert NUMBER not in json.dumps(item)
    assert (await frontend.get("/v1/messages?customer_ref=bob")).json()["items"] == []


async def test_a_customer_sets_own_preferences_and_sees_no_others(app: FastAPI, frontend: httpx2.AsyncClient) -> None:
    token = jwt.encode({"sub": "ann", "exp": 4_000_000_000}, JWT_SECRET, "HS256")
    path = "/v1/customers/ann/preferences"
    async with client_of(app, token) as ann:
        put = await ann.put(path, json=PREFERENCES)
        read = await ann.get(path)
        for answer in (
            await ann.get("/v1/customers/bob/preferences"),
            await ann.put("/v1/customers/bob/preferences", json=PREFERENCES),
        ):
            assert_problem(answer, 404, "not_found")

    assert put.json() == read.json() == (await frontend.get(path)).json() == PREFERENCES | {"customer_ref": "ann"}
    for bad in ({"timezone": "Nowhere"}, {"language": "../../etc"}, {"email_opt_out": "yes"}, {"sms": True}):
        assert_problem(await frontend.put(path, json=bad), 422, "validation")


@pytest.mark.parametrize("language", ["en", "el"])
@pytest.mark.parametrize("told", get_args(Template))
async def test_every_template_can_be_seen_in_every_language(
    admin: httpx2.AsyncClient, told: str, language: str
) -> None:
    answer = await admin.post("/v1/messages/preview", json={"template": told, "language": language})

    seen = answer.json()
    assert seen["language"] == language
    assert all(seen[part] for part in ("subject", "text", "html", "sms"))
    assert f'<html lang="{language}">' in seen["html"]
    assert "\n" not in seen["subject"] + seen["sms"]


async def test_a_preview_takes_a_sample_and_escapes_it(admin: httpx2.AsyncClient) -> None:
    sample = {"resource_name": "<Court>", "starts_at": "2030-06-03T15:00:00Z", "timezone": "Europe/Athens"}
    body = {"template": "booking_confirmed", "sample": sample}

    seen = (await admin.post("/v1/messages/preview", json=body)).json()

    assert seen["subject"] == "Booked: <Court>, Monday 3 June 2030, 18:00"
    assert "&lt;Court&gt;" in seen["html"]


@pytest.mark.parametrize(
    "text", ["{{ nothing }}", "{% if %}", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{% include 'x' %}"]
)
async def test_a_template_of_ones_own_stands_before_ours_and_may_be_wrong(
    admin: httpx2.AsyncClient, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "en" / "booking_held.sms.jinja"
    file.parent.mkdir()
    file.write_text("Hi {{ customer.name }}")
    body = {"template": "booking_held", "sample": {"customer_name": "Bob"}}
    assert (await admin.post("/v1/messages/preview", json=body)).json()["sms"] == "Hi Bob"

    file.write_text(text)
    assert_problem(await admin.post("/v1/messages/preview", json=body), 422, "invalid_template")
