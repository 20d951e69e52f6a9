"""A customer's token over HTTP: whom it opens an operation to, and every way in which it does not."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from pydantic import HttpUrl, SecretStr

from app.main import create_app
from app.security import CustomerActor, FrontendActor
from app.settings import Settings
from app.tokens import MAX_TOKEN_LENGTH, REFETCH_SECONDS, SET_CACHE_SECONDS, CustomerTokens
from tests.api.calls import assert_problem
from tests.conftest import CRON_SECRET, client_of
from tests.factories import make_api_key
from tests.unit.test_key_ring import Clock
from tests.unit.test_tokens import SECRET, Issuer, claims, ec_key, published, rsa_key, running_issuer, signed

Token = Callable[[], str]

AUDIENCE, ISSUER = "holdfast", "https://id.example/"


# Made when a test runs: a token must neither grow old in the meantime nor name a test.
def hs256() -> str:
    return signed(SECRET)


def rs256() -> str:
    return signed(rsa_key(), "rsa")


def es256() -> str:
    return signed(ec_key(), "ec")


async def _customer(actor: CustomerActor) -> dict[str, str | None]:
    return actor.json()


async def _frontend(actor: FrontendActor) -> dict[str, str | None]:
    return actor.json()


@asynccontextmanager
async def serving(settings: Settings, **changes: Any) -> AsyncIterator[FastAPI]:
    """The application with two operations that answer who called."""
    app = create_app(settings.model_copy(update=changes))
    app.get("/customer")(_customer)
    app.get("/frontend")(_frontend)
    async with app.router.lifespan_context(app):
        yield app


async def ask(app: FastAPI, token: str, path: str = "/customer") -> httpx2.Response:
    async with client_of(app, token) as client:
        return await client.get(path)


async def assert_refused(app: FastAPI, token: str, status: int = 401, code: str = "unauthorized") -> str:
    """The call is refused without a word of the token; returns the detail."""
    answer = await ask(app, token)
    detail: str = assert_problem(answer, status, code)["detail"]
    assert not any(part in answer.text for part in token.split(".") if len(part) > 3)
    return detail


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer(published(rsa_key(), "rsa"), published(ec_key(), "ec")) as running:
        yield running


@pytest.fixture
async def secretive(settings: Settings) -> AsyncIterator[FastAPI]:
    """An application that takes tokens signed with the secret."""
    async with serving(settings, jwt_secret=SecretStr(SECRET)) as app:
        yield app


@pytest.fixture
async def public_keyed(settings: Settings, issuer: Issuer) -> AsyncIterator[FastAPI]:
    """An application that takes tokens signed by the issuer."""
    async with serving(settings, jwks_url=HttpUrl(issuer.url)) as app:
        yield app


@pytest.fixture
async def both(settings: Settings, issuer: Issuer) -> AsyncIterator[FastAPI]:
    """An application that takes either."""
    async with serving(settings, jwt_secret=SecretStr(SECRET), jwks_url=HttpUrl(issuer.url)) as app:
        yield app


def by_hmac(secret: bytes) -> Callable[[bytes], bytes]:
    """Signs as HS256 does, whatever the secret is: the library would not take a public key for one."""
    return lambda text: hmac.digest(secret, text, hashlib.sha256)


def raw_token(header: dict[str, Any], signature: Callable[[bytes], bytes] = lambda _: b"", **changes: Any) -> str:
    """A token that no library would sign."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims(**changes))]
    text = b".".join(parts)
    return (text + b"." + base64.urlsafe_b64encode(signature(text)).rstrip(b"=")).decode()


async def test_a_token_signed_with_the_secret_makes_its_sub_the_customer(secretive: FastAPI) -> None:
    answer = await ask(secretive, signed(SECRET, sub="ann"))

    assert answer.status_code == 200
    actor = answer.json()
    assert (actor["type"], actor["id"], actor["customer_ref"]) == ("customer", "customer:ann", "ann")
    assert (actor["ip"], actor["request_id"]) == ("203.0.113.7", answer.headers["x-request-id"])


@pytest.mark.parametrize("token", [rs256, es256], ids=["RS256", "ES256"])
async def test_a_token_of_the_issuer_opens(public_keyed: FastAPI, token: Token) -> None:
    assert (await ask(public_keyed, token())).json()["customer_ref"] == "ann"


@pytest.mark.parametrize("token", [hs256, rs256, es256], ids=["HS256", "RS256", "ES256"])
async def test_a_secret_and_an_issuer_serve_side_by_side(both: FastAPI, token: Token) -> None:
    assert (await ask(both, token())).json()["customer_ref"] == "ann"


@pytest.mark.parametrize("token", [hs256, rs256], ids=["HS256", "RS256"])
async def test_without_a_setting_for_them_a_customer_token_is_unauthorized(settings: Settings, token: Token) -> None:
    async with serving(settings) as app:
        await assert_refused(app, token())


async def test_a_customer_token_opens_nothing_that_does_not_ask_for_customers(secretive: FastAPI) -> None:
    for method, path in (("GET", "/frontend"), ("POST", "/v1/resources"), ("POST", "/cron/process-jobs")):
        async with client_of(secretive, signed(SECRET)) as client:
            assert_problem(await client.request(method, path), 401, "unauthorized")


@pytest.mark.parametrize("scope", ["frontend", "admin"])
async def test_an_api_key_opens_what_customers_may_call_and_is_nobodys_token(
    secretive: FastAPI, conn: asyncpg.Connection, scope: Any
) -> None:
    key = await make_api_key(conn, scope)

    for path in ("/customer", "/frontend"):
        actor = (await ask(secretive, key, path)).json()
        assert actor["id"].startswith("api_key:")
        assert (actor["type"], actor["customer_ref"]) == ("admin" if scope == "admin" else "customer", None)


async def test_other_keys_are_refused_as_ever(secretive: FastAPI, conn: asyncpg.Connection) -> None:
    forbidden = await ask(secretive, await make_api_key(conn, "cron"))

    assert assert_problem(forbidden, 403, "forbidden")["needs_scope"] == ["admin", "frontend"]
    await assert_refused(secretive, "hf_garbage")
    await assert_refused(secretive, CRON_SECRET)


async def test_the_cron_secret_still_opens_the_cron(secretive: FastAPI) -> None:
    async with client_of(secretive, CRON_SECRET) as client:
        assert (await client.post("/cron/process-jobs")).status_code == 200


@pytest.mark.parametrize(
    ("claim", "seconds", "detail"),
    [
        ("exp", -300, "The token has expired."),
        ("nbf", 300, "The token is not valid yet."),
        ("iat", 300, "The token is not valid yet."),
    ],
)
async def test_a_token_opens_only_in_its_time(secretive: FastAPI, claim: str, seconds: int, detail: str) -> None:
    changes: dict[str, Any] = {claim: int(time.time()) + seconds}

    assert await assert_refused(secretive, signed(SECRET, **changes)) == detail


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"exp": None}, "The token lacks exp."),
        ({"sub": None}, "The token lacks sub."),
        ({"sub": " "}, "The token's sub cannot be a customer's ref."),
        ({"sub": 7}, "The token is not valid."),
    ],
)
async def test_a_token_names_a_customer_and_its_own_end(
    secretive: FastAPI, changes: dict[str, Any], detail: str
) -> None:
    assert await assert_refused(secretive, signed(SECRET, **changes)) == detail


async def test_a_reason_is_told_only_to_who_has_a_good_signature(secretive: FastAPI) -> None:
    detail = await assert_refused(secretive, signed("another-secret-of-the-same-great-length", exp=1))

    assert detail == "The token is not valid."


@pytest.mark.parametrize(
    "changes",
    [{}, {"aud": "another"}, {"aud": []}, {"aud": ["a", "b"]}, {"aud": 7}, {"aud": {"holdfast": 1}}, {"aud": "hold"}],
)
async def test_a_token_for_another_audience_is_refused(settings: Settings, changes: dict[str, Any]) -> None:
    async with serving(settings, jwt_secret=SecretStr(SECRET), jwt_audience=AUDIENCE) as app:
        await assert_refused(app, signed(SECRET, **changes))


@pytest.mark.parametrize("aud", [AUDIENCE, ["another", AUDIENCE]])
async def test_a_token_for_our_audience_opens(settings: Settings, aud: object) -> None:
    async with serving(settings, jwt_secret=SecretStr(SECRET), jwt_audience=AUDIENCE) as app:
        assert (await ask(app, signed(SECRET, aud=aud))).status_code == 200


@pytest.mark.parametrize("changes", [{}, {"iss": "https://evil.example/"}, {"iss": ISSUER.rstrip("/")}])
async def test_a_token_of_another_issuer_is_refused(settings: Settings, changes: dict[str, Any]) -> None:
    async with serving(settings, jwt_secret=SecretStr(SECRET), jwt_issuer=ISSUER) as app:
        await assert_refused(app, signed(SECRET, **changes))


async def test_a_token_of_our_issuer_opens(settings: Settings) -> None:
    async with serving(settings, jwt_secret=SecretStr(SECRET), jwt_issuer=ISSUER) as app:
        assert (await ask(app, signed(SECRET, iss=ISSUER))).status_code == 200


async def test_where_neither_is_set_audience_and_issuer_are_not_looked_at(secretive: FastAPI) -> None:
    assert (await ask(secretive, signed(SECRET, aud=["any"], iss="anyone"))).status_code == 200


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, [], "HS384", "hs256", "dir"])
@pytest.mark.parametrize("kid", [None, "rsa"])
async def test_no_other_algorithm_opens(both: FastAPI, algorithm: object, kid: str | None) -> None:
    header = {"typ": "JWT", "alg": algorithm} | ({"kid": kid} if kid else {})

    await assert_refused(both, raw_token(header))
    await assert_refused(both, raw_token(header, by_hmac(SECRET.encode())))


@pytest.mark.parametrize("kid", [None, "rsa"])
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("secret", [None, SecretStr(SECRET)], ids=["keys alone", "keys and a secret"])
async def test_a_public_key_is_never_a_secret(
    settings: Settings, issuer: Issuer, secret: SecretStr | None, encoding: Encoding, kid: str | None
) -> None:
    public = rsa_key().public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    header = {"typ": "JWT", "alg": "HS256"} | ({"kid": kid} if kid else {})
    token = raw_token(header, by_hmac(public))

    async with serving(settings, jwks_url=HttpUrl(issuer.url), jwt_secret=secret) as app:
        await assert_refused(app, token)
        assert (await ask(app, rs256())).status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        lambda: signed(rsa_key(), "ec"),
        lambda: signed(ec_key(), "rsa"),
        lambda: signed(rsa_key(), "rsa", "RS512"),
        lambda: signed(rsa_key(), "rsa", "PS256"),
        lambda: signed(rsa_key("stranger"), "rsa"),
        lambda: signed(rsa_key("stranger"), "stranger"),
        lambda: signed(rsa_key("stranger")),
    ],
    ids=["RSA as EC", "EC as RSA", "RS512", "PS256", "wrong key", "unknown key", "no key id"],
)
async def test_a_key_verifies_its_own_signatures_by_its_own_algorithm_alone(both: FastAPI, token: Token) -> None:
    await assert_refused(both, token())


async def test_a_key_that_comes_with_the_token_is_not_looked_at(both: FastAPI) -> None:
    stranger = rsa_key("stranger")
    async with running_issuer(published(stranger, "rsa")) as other:
        header = {"kid": "rsa", "jwk": published(stranger, "rsa"), "jku": other.url}
        token = jwt.encode(claims(), stranger, "RS256", header)

        await assert_refused(both, token)
        assert other.requests == 0


async def test_a_secret_that_the_issuer_publishes_is_none(public_keyed: FastAPI, issuer: Issuer) -> None:
    secret = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
    issuer.publish({"kty": "oct", "k": secret, "kid": "oct", "alg": "HS256"}, published(rsa_key(), "rsa"))

    await assert_refused(public_keyed, signed(SECRET, "oct"))
    assert (await ask(public_keyed, signed(rsa_key(), "rsa"))).status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        "garbage",
        "a.b",
        "a.b.c",
        "....",
        "e30.e30.e30",
        "W10.W10.W10",
        base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.e30",
        "\xe9",
    ],
)
async def test_garbage_is_refused(both: FastAPI, token: str) -> None:
    async with client_of(both) as client:
        answer = await client.get("/customer", headers=[(b"authorization", b"Bearer " + token.encode("latin-1"))])

    assert_problem(answer, 401, "unauthorized")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256", "kid": 7},
        {"alg": "HS256", "crit": ["exp"]},
        {"alg": "HS256", "b64": False, "crit": ["b64"]},
        {"alg": ["HS256"]},
        {"alg": {"HS256": 1}},
        {},
    ],
)
async def test_a_header_that_is_not_understood_is_refused(secretive: FastAPI, header: dict[str, Any]) -> None:
    sign = by_hmac(SECRET.encode())
    assert (await ask(secretive, raw_token({"alg": "HS256"}, sign))).status_code == 200

    await assert_refused(secretive, raw_token(header, sign))


async def test_a_token_that_was_changed_on_its_way_is_refused(secretive: FastAPI) -> None:
    head, _, signature = hs256().split(".")
    _, other, _ = signed(SECRET, sub="bob").split(".")

    await assert_refused(secretive, f"{head}.{other}.{signature}")
    await assert_refused(secretive, hs256()[:-4])
    await assert_refused(secretive, hs256() + ".x")


async def test_a_token_has_a_greatest_length(secretive: FastAPI) -> None:
    room = MAX_TOKEN_LENGTH - len(signed(SECRET, more=""))
    longest = signed(SECRET, more="x" * (room * 3 // 4 - 2))
    too_long = signed(SECRET, more="x" * (room * 3 // 4 + 4))

    assert (await ask(secretive, longest)).status_code == 200
    assert await assert_refused(secretive, too_long) == "The token is too long."


async def test_a_new_key_of_the_issuer_is_picked_up(both: FastAPI, issuer: Issuer) -> None:
    clock = Clock()
    both.state.tokens = CustomerTokens(both.state.settings.model_copy(update={"jwks_url": HttpUrl(issuer.url)}), clock)
    assert (await ask(both, signed(rsa_key(), "rsa"))).status_code == 200
    issuer.publish(published(rsa_key("two"), "two"))

    clock.now += REFETCH_SECONDS

    assert (await ask(both, signed(rsa_key("two"), "two"))).status_code == 200
    await assert_refused(both, signed(rsa_key(), "rsa"))


async def test_an_issuer_that_goes_down_later_takes_nobody_with_it(public_keyed: FastAPI, issuer: Issuer) -> None:
    clock = Clock()
    public_keyed.state.tokens = CustomerTokens(public_keyed.state.settings, clock)
    assert (await ask(public_keyed, signed(rsa_key(), "rsa"))).status_code == 200
    await issuer.stop()

    clock.now += 2 * SET_CACHE_SECONDS

    assert (await ask(public_keyed, signed(rsa_key(), "rsa"))).status_code == 200
    assert (await ask(public_keyed, signed(ec_key(), "ec"))).status_code == 200


async def test_an_issuer_that_never_answered_makes_the_call_unavailable_and_nothing_else(
    both: FastAPI, issuer: Issuer, conn: asyncpg.Connection
) -> None:
    await issuer.stop()

    await assert_refused(both, signed(rsa_key(), "rsa"), 503, "unavailable")
    assert (await ask(both, signed(SECRET))).status_code == 200
    assert (await ask(both, await make_api_key(conn, "frontend"))).status_code == 200


async def test_the_api_description_names_both_ways_in_where_customers_may_call(settings: Settings) -> None:
    async with serving(settings) as app:
        described = app.openapi()

    keys = [{"api_key": ["admin"]}, {"api_key": ["frontend"]}]
    assert described["paths"]["/customer"]["get"]["security"] == [*keys, {"customer_token": []}]
    assert described["paths"]["/frontend"]["get"]["security"] == keys
    scheme = described["components"]["securitySchemes"]["customer_token"]
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")
