"""/v1/credentials: in by their owner or for their owner, never out, and gone when they are deleted."""

from typing import Any

import asyncpg
import httpx2
import pytest

from app.credentials.queries import stored_credentials
from app.database import Database
from app.encryption import EncryptionKeys
from app.main import create_app
from app.providers.vault import unseal
from app.settings import Settings
from tests.api.calls import assert_problem
from tests.conftest import client_of
from tests.contracts.test_responses import assert_declared
from tests.credentials.support import FIRST, put_provider
from tests.factories import make_api_key
from tests.sql.support import one

PATH = "/v1/credentials/gametime"
FIELDS = {"user": "ann@example.com", "password": "open sesame"}


async def put(client: httpx2.AsyncClient, fields: object = FIELDS, path: str = PATH, **body: Any) -> httpx2.Response:
    return await client.put(path, json={"fields": fields} | body)


@pytest.fixture(autouse=True)
async def _provider(conn: asyncpg.Connection) -> None:
    await put_provider(conn)


async def test_a_customer_stores_own_credentials_and_sees_none_of_them(
    ann: httpx2.AsyncClient, conn: asyncpg.Connection, database: Database
) -> None:
    answer = await put(ann)

    assert answer.status_code == 200, answer.text
    assert_declared(answer, "/v1/credentials/{provider}")
    assert (answer.json()["customer_ref"], answer.json()["status"]) == ("ann", "unchecked")
    assert answer.headers["cache-control"] == "no-store"
    listed = await ann.get("/v1/credentials")
    assert_declared(listed, "/v1/credentials")
    assert listed.json() == {"items": [answer.json()], "next_cursor": None}
    assert "sesame" not in answer.text + listed.text
    stored = await stored_credentials(database, await conn.fetchval("SELECT id FROM provider_credentials"))
    assert stored is not None
    assert unseal(EncryptionKeys(FIRST), "gametime", "ann", stored.sealed).fields == FIELDS


async def test_an_admin_and_a_frontend_store_for_whom_they_name(
    admin: httpx2.AsyncClient, frontend: httpx2.AsyncClient
) -> None:
    assert (await put(admin, customer_ref="bob")).json()["customer_ref"] == "bob"
    assert (await put(frontend, customer_ref="cid")).json()["customer_ref"] == "cid"

    page = (await admin.get("/v1/credentials")).json()
    assert [item["customer_ref"] for item in page["items"]] == ["bob", "cid"]
    (item,) = (await admin.get("/v1/credentials", params={"customer_ref": "cid"})).json()["items"]
    assert item["customer_ref"] == "cid"


async def test_an_admin_has_to_say_for_whom(admin: httpx2.AsyncClient) -> None:
    problem = assert_problem(await put(admin), 422, "validation")
    assert problem["errors"] == [{"field": "body.customer_ref", "message": "Field required"}]

    problem = assert_problem(await admin.delete(PATH), 422, "validation")
    assert problem["errors"] == [{"field": "query.customer_ref", "message": "Field required"}]


async def test_a_customer_touches_nobody_elses(ann: httpx2.AsyncClient, bob: httpx2.AsyncClient) -> None:
    await put(bob)

    assert_problem(await put(ann, customer_ref="bob"), 403, "forbidden")
    assert_problem(await ann.delete(PATH, params={"customer_ref": "bob"}), 403, "forbidden")
    assert_problem(await ann.delete(PATH), 404, "credentials_not_found")
    assert (await ann.get("/v1/credentials", params={"customer_ref": "bob"})).json()["items"] == []
    assert len((await bob.get("/v1/credentials")).json()["items"]) == 1


async def test_what_is_deleted_is_gone(ann: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    await put(ann)

    answer = await ann.delete(PATH)

    assert (answer.status_code, answer.content) == (204, b"")
    assert await one(conn, "SELECT count(*) FROM provider_credentials") == (0,)
    assert_problem(await ann.delete(PATH), 404, "credentials_not_found")
    events = "SELECT array_agg(event ORDER BY id) FROM audit_log WHERE subject_type = 'credentials'"
    assert await one(conn, events) == (["credentials.created", "credentials.deleted"],)


async def test_an_admin_deletes_for_whom_they_name(admin: httpx2.AsyncClient, ann: httpx2.AsyncClient) -> None:
    await put(ann)

    assert (await admin.delete(PATH, params={"customer_ref": "ann"})).status_code == 204


async def test_a_provider_that_nobody_put_takes_none(ann: httpx2.AsyncClient) -> None:
    assert_problem(await put(ann, path="/v1/credentials/nowhere"), 404, "provider_not_found")


async def test_without_keys_nothing_is_taken(settings: Settings, conn: asyncpg.Connection) -> None:
    app = create_app(settings.model_copy(update={"encryption_keys": None}))
    async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "admin")) as client:
        assert_problem(await put(client, customer_ref="ann"), 503, "encryption_unavailable")

        assert (await client.get("/v1/credentials")).json()["items"] == []
    assert await one(conn, "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM jobs)") == (0, 0)


@pytest.mark.parametrize(
    "fields",
    [{"p": "x" * 1024}, {"p": "é" * 512}, {"p": "x"}, {f"f{n}": "x" * 1024 for n in range(10)}, {"p": " \0 "}],
    ids=["1 KiB", "1 KiB of two bytes each", "one letter", "ten", "NUL"],
)
async def test_a_secret_of_any_form_is_kept_as_it_is(
    ann: httpx2.AsyncClient, conn: asyncpg.Connection, database: Database, fields: dict[str, str]
) -> None:
    assert (await put(ann, fields)).status_code == 200

    stored = await stored_credentials(database, await conn.fetchval("SELECT id FROM provider_credentials"))
    assert stored is not None
    assert unseal(EncryptionKeys(FIRST), "gametime", "ann", stored.sealed).fields == fields


BAD_FIELDS: dict[str, object] = {
    "none": {},
    "eleven": {f"f{n}": "canary" for n in range(11)},
    "too long": {"p": "canary" * 171},
    "too long in bytes": {"p": "canaré" * 170},
    "empty": {"p": ""},
    "a number": {"p": 4711},
    "nothing": {"p": None},
    "a list": {"p": ["canary"]},
    "an object": {"p": {"canary": "canary"}},
    "a bad name": {"Pass word": "canary"},
    "a list of all": ["canary"],
    "a text": "canary",
}


@pytest.mark.parametrize("fields", BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
async def test_a_secret_that_is_refused_is_not_repeated(
    ann: httpx2.AsyncClient, conn: asyncpg.Connection, fields: object
) -> None:
    answer = await put(ann, fields)

    assert_problem(answer, 422, "validation")
    assert "canar" not in answer.text
    assert await one(conn, "SELECT count(*) FROM provider_credentials") == (0,)


@pytest.mark.parametrize(
    "body",
    [
        b'{"fields": {"p": "canary"}',
        b'{"fields": {"p": "canary\xff"}}',
        rb'{"fields": {"p": "canary\ud800"}}',
        b'"canary"',
        b"canary",
        b'{"fields": {"p": "canary"}, "note": "canary"}',
        b'{"fields": {"p": "' + b"canary" * 50_000 + b'"}}',
    ],
)
async def test_a_body_that_is_refused_is_not_repeated(ann: httpx2.AsyncClient, body: bytes) -> None:
    answer = await ann.put(PATH, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code in {400, 413, 422}
    assert "canary" not in answer.text
