"""Every operation with every kind of credential: what is closed is refused before anything else, and changes nothing.

What is open comes from the API description, which says what the routes themselves ask for. What belongs to another
customer is the matter of test_ownership.py.
"""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from ipaddress import IPv4Network
from itertools import count
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi.routing import APIRoute
from pydantic import HttpUrl, SecretStr

from app.main import create_app
from app.security import SHOWN_PREFIX_LENGTH, hash_token, new_api_key
from tests.api.calls import PROBLEM_JSON
from tests.api.matrix import ANYONE, opened_by, table
from tests.api.test_customer_tokens import by_hmac, raw_token
from tests.conftest import CRON_SECRET, client_of, settings_for
from tests.contracts.support import ROOT, Operation, api_description, operations
from tests.databases import copy_of
from tests.factories import ACTOR, make_api_key
from tests.hostile.conftest import furnish, settings_of
from tests.hostile.corpus import Call, Corpus
from tests.unit.test_tokens import SECRET, ec_key, published, rsa_key, running_issuer, signed

DOCUMENT = api_description()
OPERATIONS = list(operations(DOCUMENT))
# answers for themselves: what describes the API, and what is behind addresses that are handed out whole
UNDESCRIBED = {
    *("/openapi.json", "/docs", "/docs/oauth2-redirect", "/static-offline-docs"),
    *("/respond/{token}", "/calendars/{token}.ics"),
}
PROXY = "203.0.113.7"
NEW_CRON_SECRET = "the-next-secret-of-the-cron"  # noqa: S105
OURS = {"aud": "holdfast", "iss": "https://id.example/"}
# a stream from now on would have no end
NO_STREAM = {"Last-Event-ID": "nowhere"}

ADDRESSES = count(1)
SCOPES = {"admin", "frontend", "cron"}
CLOSED = frozenset[str]()
# What each credential is to the description, and how it is made where no row is needed.
HOLDERS: dict[str, frozenset[str]] = {
    "admin key": frozenset({"admin"}),
    "admin key that is being rotated": frozenset({"admin"}),
    "frontend key": frozenset({"frontend"}),
    "cron key": frozenset({"cron"}),
    "cron secret": frozenset({"cron secret"}),
    "next cron secret": frozenset({"cron secret"}),
    "customer": frozenset({"customer"}),
    "customer, signed by the issuer": frozenset({"customer"}),
    "another customer": frozenset({"customer"}),
}
TOKENS: dict[str, Callable[[], str | None]] = {
    "cron secret": lambda: CRON_SECRET,
    "next cron secret": lambda: NEW_CRON_SECRET,
    "customer": lambda: signed(SECRET, **OURS),
    "customer, signed by the issuer": lambda: signed(rsa_key(), "one", **OURS),
    "another customer": lambda: signed(SECRET, sub="bob", **OURS),
    # from here on nobody
    "nothing": lambda: None,
    "garbage": lambda: "garbage",
    "a key that never was": new_api_key,
    "both cron secrets": lambda: f"{NEW_CRON_SECRET},{CRON_SECRET}",
    "customer, expired": lambda: signed(SECRET, exp=1, **OURS),
    "customer, not yet": lambda: signed(SECRET, nbf=4_000_000_000, **OURS),
    "customer, without an end": lambda: signed(SECRET, exp=None, **OURS),
    "customer, of no name": lambda: signed(SECRET, sub=None, **OURS),
    "customer, for another audience": lambda: signed(SECRET, **OURS | {"aud": "another"}),
    "customer, of another issuer": lambda: signed(SECRET, **OURS | {"iss": "https://evil.example/"}),
    "customer, by another secret": lambda: signed("another-secret-that-is-long-enough-too", **OURS),
    "customer, by another key of that name": lambda: signed(rsa_key("another"), "one", **OURS),
    "customer, by a key of another kind": lambda: signed(ec_key(), "one", **OURS),
    "customer, alg none": lambda: raw_token({"alg": "none"}, aud=OURS["aud"], iss=OURS["iss"]),
    "customer, by the public key as a secret": lambda: raw_token(
        {"alg": "HS256"}, by_hmac(public_pem()), aud=OURS["aud"], iss=OURS["iss"]
    ),
    "customer, cut short": lambda: signed(SECRET, **OURS)[:-1],
}
ENDED = ("revoked key", "expired key", "key that was rotated away")
KINDS = sorted(HOLDERS.keys() | TOKENS.keys() | set(ENDED))


def public_pem() -> bytes:
    return rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class World(NamedTuple):
    """An installation, a token of each kind, and requests that would be good."""

    client: httpx2.AsyncClient
    conn: asyncpg.Connection
    corpus: Corpus
    tokens: dict[str, str | None]


async def keys(conn: asyncpg.Connection) -> dict[str, str]:
    """API keys of every scope, and admin keys that opened everything once."""
    made = {
        name: await make_api_key(conn, "admin") for name in ("admin key", "admin key that is being rotated", *ENDED)
    }
    rotate = "SELECT rotate_api_key($1, id, $2, $3, $4) FROM api_keys WHERE key_hash = $5"
    for name, overlap in (("admin key that is being rotated", 1), ("key that was rotated away", 0)):
        new = new_api_key()
        facts = (new[:SHOWN_PREFIX_LENGTH], hash_token(new), timedelta(hours=overlap), hash_token(made[name]))
        await conn.execute(rotate, ACTOR, *facts)
    revoked = made["revoked key"][:SHOWN_PREFIX_LENGTH]
    assert await conn.fetchval("SELECT revoke_api_key($1, $2)", ACTOR, revoked) == 1
    expire = "UPDATE api_keys SET expires_at = now() WHERE key_hash = $1"
    assert await conn.execute(expire, hash_token(made["expired key"])) == "UPDATE 1"
    return made | {"frontend key": await make_api_key(conn, "frontend"), "cron key": await make_api_key(conn, "cron")}


@pytest.fixture(scope="module")
async def world(template: str) -> AsyncIterator[World]:
    async with copy_of(template, "matrix") as (dsn, conn):
        corpus = Corpus(DOCUMENT, await furnish(conn))
        tokens = {kind: make() for kind, make in TOKENS.items()} | await keys(conn)
        async with running_issuer(published(rsa_key(), "one")) as issuer:
            settings = settings_of(dsn).model_copy(
                update={
                    "jwt_secret": SecretStr(SECRET),
                    "jwks_url": HttpUrl(issuer.url),
                    "jwt_audience": OURS["aud"],
                    "jwt_issuer": OURS["iss"],
                    "cron_secret": SecretStr(f"{NEW_CRON_SECRET}, {CRON_SECRET}"),
                    # each request comes from an address of its own, which may send its own wrong tokens
                    "trusted_proxies": (IPv4Network(PROXY),),
                }
            )
            app = create_app(settings, handlers=())
            async with app.router.lifespan_context(app), client_of(app) as client:
                yield World(client, conn, corpus, tokens)


def is_open(operation: Operation, kind: str) -> bool:
    return opened_by(operation) == ANYONE or bool(opened_by(operation) & HOLDERS.get(kind, CLOSED))


async def send(world: World, kind: str, call: Call) -> httpx2.Response:
    token = world.tokens[kind]
    number = next(ADDRESSES)
    headers = call.headers | NO_STREAM | {"X-Forwarded-For": f"10.0.{number // 256}.{number % 256}"}
    return await world.client.request(
        call.operation.method.upper(),
        call.url,
        content=call.body,
        headers=headers | ({"Authorization": f"Bearer {token}"} if token is not None else {}),
    )


def empty(operation: Operation) -> Call:
    """Enough to get past the door, and no further: what is not there is not found, and nothing is asked for."""
    path = operation.path.format_map(Blanks())
    return Call(operation, path, {}, b"", "nothing in it")


def broken(operation: Operation) -> Call:
    """Wrong in every place: an id that is none, a parameter that nobody reads, a body that is no JSON."""
    path = operation.path.format_map(Blanks("no-id"))
    # what is signed is a body, which is read first
    body = b"[]" if "signature" in opened_by(operation) else b"{"
    return Call(operation, f"{path}?nonsense=1&nonsense=2", {"Content-Type": "application/json"}, body, "broken")


class Blanks(dict[str, str]):
    """A value for every place in a path: the one given, or one that is well-formed and names nothing."""

    def __init__(self, value: str | None = None) -> None:
        self._value = value

    def __missing__(self, name: str) -> str:
        return self._value or {"date": "2030-01-01"}.get(name) or str(uuid4())


async def everything(conn: asyncpg.Connection) -> dict[str, str]:
    """A digest of every table, but for when keys were last used, which is written now and then."""
    names = await conn.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'holdfast'::regnamespace AND relkind = 'r'"
    )
    digest = (
        "SELECT md5(coalesce(string_agg((to_jsonb(t) - 'last_used_at')::text, ',' ORDER BY t::text), '')) FROM {} t"
    )
    return {name: await conn.fetchval(digest.format(name)) for (name,) in names}


def faults_of_refusal(answer: httpx2.Response, operation: Operation, kind: str) -> list[str]:
    """What is wrong with the answer to who may not call: 403 to a key of another scope, 401 to everybody else."""
    is_asked_for = bool(opened_by(operation) & SCOPES)
    is_another = is_asked_for and bool(HOLDERS.get(kind, CLOSED) & SCOPES)
    status, code = (403, "forbidden") if is_another else (401, "unauthorized")
    if answer.status_code != status or answer.headers["content-type"] != PROBLEM_JSON:
        return [f"{answer.status_code} {answer.text[:200]}"]
    problem: dict[str, Any] = answer.json()
    found = [] if (problem["status"], problem["code"]) == (status, code) else [f"says {problem}"]
    if str(status) not in operation.errors:
        found.append("is not declared")
    if status == 401 and answer.headers["www-authenticate"] != "Bearer":
        found.append("names no scheme")
    if status == 403 and set(problem["needs_scope"]) != opened_by(operation) & SCOPES:
        found.append(f"asks for {problem['needs_scope']}")
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_closed_is_refused_before_anything_else_and_changes_nothing(world: World, kind: str) -> None:
    before = await everything(world.conn)
    wrong = []

    for operation in OPERATIONS:
        if not is_open(operation, kind):
            for call in (world.corpus.valid(operation), broken(operation)):
                answer = await send(world, kind, call)
                wrong += [
                    (operation.spec["operationId"], call.what, f) for f in faults_of_refusal(answer, operation, kind)
                ]

    assert wrong == []
    assert await everything(world.conn) == before


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_open_is_refused_for_other_reasons_alone(world: World, kind: str) -> None:
    answers = {
        operation.spec["operationId"]: (await send(world, kind, empty(operation))).status_code
        for operation in OPERATIONS
        if is_open(operation, kind)
    }

    assert {name: status for name, status in answers.items() if status in {401, 403}} == {}


def test_no_route_is_left_out_of_the_description_but_these() -> None:
    app = create_app(settings_for("postgresql:///nowhere"))

    assert {r.path for r in app.routes if not (isinstance(r, APIRoute) and r.include_in_schema)} == UNDESCRIBED  # type: ignore[attr-defined]


def test_the_docs_show_the_matrix_as_it_is() -> None:
    assert table(DOCUMENT) in (ROOT / "docs" / "security.md").read_text()
