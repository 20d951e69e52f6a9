"""The keys of customer tokens: when an issuer is asked for them, what is taken of its answer, and who a sub may be."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import HttpUrl, SecretStr

from app import tokens
from app.errors import Problem
from app.settings import Settings
from app.tokens import FIRST_FETCH_RETRY_SECONDS, REFETCH_SECONDS, SET_CACHE_SECONDS, CustomerTokens
from tests.unit.test_key_ring import Clock

SECRET = "a-secret-of-the-sign-in-for-tests-only"  # noqa: S105
PATIENCE_SECONDS = 20

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(_name: str = "one") -> rsa.RSAPrivateKey:
    """A key that goes by that name throughout the run; making one takes a while."""
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key(_name: str = "one") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token; one that is None is left out."""
    given = {"sub": "ann", "exp": int(time.time()) + 600} | changes
    return {name: value for name, value in given.items() if value is not None}


def signed(key: PrivateKey | str, kid: str | None = None, algorithm: str | None = None, **changes: Any) -> str:
    """A token, signed as that kind of key signs."""
    natural = "HS256" if isinstance(key, str) else "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return jwt.encode(claims(**changes), key, algorithm or natural, {"kid": kid} if kid else None)


def published(key: PrivateKey, kid: str | None = None, **members: Any) -> dict[str, Any]:
    """The public half of a key, as an issuer publishes it."""
    if isinstance(key, rsa.RSAPrivateKey):
        jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return jwk | ({"kid": kid} if kid else {}) | members


class Issuer:
    """An HTTP server on a loopback port that publishes keys. What it answers, and whether, is the test's to change."""

    def __init__(self) -> None:
        self.port = 0
        self.heads: list[bytes] = []
        self.status = "200 OK"
        self.headers = ""
        self.body = b""
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.drips = False
        self._server: asyncio.Server | None = None

    @property
    def requests(self) -> int:
        return len(self.heads)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks.json"

    def publish(self, *keys: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": keys}).encode()

    async def start(self) -> None:
        """Listen; again at the same port after a stop."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked.set()
            await self.may_answer.wait()
            head = f"HTTP/1.1 {self.status}\r\n{self.headers}Connection: close\r\n\r\n"
            writer.write(head.encode() + self.body)
            while self.drips:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running_issuer(*keys: dict[str, Any]) -> AsyncIterator[Issuer]:
    """An issuer that publishes these keys."""
    issuer = Issuer()
    issuer.publish(*keys)
    await issuer.start()
    try:
        yield issuer
    finally:
        issuer.drips = False
        issuer.may_answer.set()
        await issuer.stop()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer(published(rsa_key(), "one")) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def customers(issuer: Issuer, clock: Clock) -> CustomerTokens:
    return CustomerTokens(Settings(_env_file=None, jwks_url=HttpUrl(issuer.url)), clock)


def by_secret(secret: str = SECRET) -> CustomerTokens:
    return CustomerTokens(Settings(_env_file=None, jwt_secret=SecretStr(secret)))


async def refusal(customers: CustomerTokens, token: str) -> str:
    """The code with which the token is refused."""
    with pytest.raises(Problem) as refused:
        await customers.verify(token)
    assert token not in str(refused.value.detail)
    return refused.value.code


async def test_a_set_is_fetched_once_while_it_is_fresh(customers: CustomerTokens, issuer: Issuer, clock: Clock) -> None:
    await customers.verify(signed(rsa_key(), "one"))
    clock.now += SET_CACHE_SECONDS - 0.001

    assert await customers.verify(signed(rsa_key(), "one", sub="bob")) == "bob"
    assert issuer.requests == 1


async def test_nothing_is_fetched_before_a_token_needs_it(customers: CustomerTokens, issuer: Issuer) -> None:
    assert await refusal(customers, signed(SECRET)) == "unauthorized"
    assert await refusal(customers, "garbage") == "unauthorized"

    assert issuer.requests == 0


async def test_a_withdrawn_key_verifies_nothing_once_the_set_is_old(
    customers: CustomerTokens, issuer: Issuer, clock: Clock
) -> None:
    await customers.verify(signed(rsa_key(), "one"))
    issuer.publish(published(rsa_key("two"), "two"))

    clock.now += SET_CACHE_SECONDS

    assert await refusal(customers, signed(rsa_key(), "one")) == "unauthorized"


async def test_an_issuer_that_withdraws_every_key_is_believed(
    customers: CustomerTokens, issuer: Issuer, clock: Clock
) -> None:
    await customers.verify(signed(rsa_key(), "one"))
    issuer.publish()

    clock.now += SET_CACHE_SECONDS

    assert await refusal(customers, signed(rsa_key(), "one")) == "unauthorized"


async def test_a_new_key_is_taken_as_soon_as_a_token_names_it(
    customers: CustomerTokens, issuer: Issuer, clock: Clock
) -> None:
    await customers.verify(signed(rsa_key(), "one"))
    issuer.publish(published(rsa_key(), "one"), published(rsa_key("two"), "two"))

    clock.now += REFETCH_SECONDS

    assert await customers.verify(signed(rsa_key("two"), "two")) == "ann"
    assert issuer.requests == 2


async def test_unknown_key_ids_make_one_fetch_in_thirty_seconds_however_many_they_are(
    customers: CustomerTokens, issuer: Issuer, clock: Clock
) -> None:
    await customers.verify(signed(rsa_key(), "one"))
    clock.now += REFETCH_SECONDS

    for number in range(5):
        assert await refusal(customers, signed(rsa_key("two"), f"unknown {number}")) == "unauthorized"
    assert issuer.requests == 2
    clock.now += REFETCH_SECONDS - 0.001
    assert await refusal(customers, signed(rsa_key("two"), "two")) == "unauthorized"
    assert issuer.requests == 2
    clock.now += 0.002
    assert await refusal(customers, signed(rsa_key("two"), "two")) == "unauthorized"
    assert issuer.requests == 3


async def test_rivals_for_the_first_set_wait_for_one_fetch(customers: CustomerTokens, issuer: Issuer) -> None:
    calls = [customers.verify(signed(rsa_key(), "one", sub=f"c{number}")) for number in range(20)]

    assert await asyncio.gather(*calls) == [f"c{number}" for number in range(20)]
    assert issuer.requests == 1


async def test_while_one_caller_waits_for_a_newer_set_the_others_go_on_with_the_old(
    customers: CustomerTokens, issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "FETCH_SECONDS", PATIENCE_SECONDS)
    token = signed(rsa_key(), "one")
    await customers.verify(token)
    clock.now += SET_CACHE_SECONDS
    issuer.asked.clear()
    issuer.may_answer.clear()
    waiting = asyncio.create_task(customers.verify(token))
    await issuer.asked.wait()

    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await customers.verify(token) == "ann"
    assert not waiting.done()

    issuer.may_answer.set()
    assert await waiting == "ann"


async def test_the_last_good_set_serves_while_the_issuer_is_down(
    customers: CustomerTokens, issuer: Issuer, clock: Clock
) -> None:
    await customers.verify(signed(rsa_key(), "one"))
    await issuer.stop()

    for _ in range(3):
        clock.now += SET_CACHE_SECONDS
        assert await customers.verify(signed(rsa_key(), "one")) == "ann"


async def test_an_issuer_that_is_down_is_asked_again_after_thirty_seconds(
    customers: CustomerTokens, issuer: Issuer, clock: Clock
) -> None:
    await customers.verify(signed(rsa_key(), "one"))
    issuer.status = "500 Internal Server Error"
    clock.now += SET_CACHE_SECONDS
    for _ in range(3):
        await customers.verify(signed(rsa_key(), "one"))
    assert issuer.requests == 2

    clock.now += REFETCH_SECONDS
    await customers.verify(signed(rsa_key(), "one"))

    assert issuer.requests == 3


async def test_until_the_first_answer_the_issuer_is_asked_once_a_second(
    customers: CustomerTokens, issuer: Issuer, clock: Clock
) -> None:
    issuer.status = "503 Service Unavailable"
    for _ in range(3):
        assert await refusal(customers, signed(rsa_key(), "one")) == "unavailable"
    assert issuer.requests == 1

    issuer.status = "200 OK"
    clock.now += FIRST_FETCH_RETRY_SECONDS

    assert await customers.verify(signed(rsa_key(), "one")) == "ann"


async def test_an_issuer_that_never_ends_its_answer_is_given_up(
    customers: CustomerTokens, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "FETCH_SECONDS", 0.2)
    # every byte comes well within the limit, and they do not end
    issuer.drips = True

    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await refusal(customers, signed(rsa_key(), "one")) == "unavailable"


async def test_a_redirect_is_not_followed(customers: CustomerTokens, issuer: Issuer) -> None:
    async with running_issuer(published(rsa_key(), "one")) as other:
        issuer.status, issuer.headers = "302 Found", f"Location: {other.url}\r\n"

        assert await refusal(customers, signed(rsa_key(), "one")) == "unavailable"
        assert other.requests == 0


async def test_a_set_is_read_up_to_a_size(customers: CustomerTokens, issuer: Issuer, clock: Clock) -> None:
    good = issuer.body
    issuer.body = good + b" " * (tokens.MAX_SET_BYTES - len(good) + 1)
    assert await refusal(customers, signed(rsa_key(), "one")) == "unavailable"

    issuer.body = issuer.body[:-1]
    clock.now += FIRST_FETCH_RETRY_SECONDS

    assert await customers.verify(signed(rsa_key(), "one")) == "ann"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 100_000, b"\x1f\x8b\x08\x00"]
)
async def test_an_answer_that_is_no_set_of_keys_is_none(customers: CustomerTokens, issuer: Issuer, body: bytes) -> None:
    issuer.body = body

    assert await refusal(customers, signed(rsa_key(), "one")) == "unavailable"


async def test_what_cannot_be_used_of_a_set_is_passed_over(customers: CustomerTokens, issuer: Issuer) -> None:
    broken: list[Any] = [None, 7, {}, {"kty": "RSA"}, {"kty": "RSA", "n": 5, "e": []}, {"kty": ["EC"], "crv": {}}]
    issuer.publish(*broken, published(rsa_key(), "one"))

    assert await customers.verify(signed(rsa_key(), "one")) == "ann"


@pytest.mark.parametrize("members", [{"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}, {"alg": "none"}])
async def test_a_key_for_another_purpose_verifies_nothing(
    customers: CustomerTokens, issuer: Issuer, members: dict[str, str]
) -> None:
    issuer.publish(published(rsa_key(), "one", **members))

    assert await refusal(customers, signed(rsa_key(), "one")) == "unauthorized"


async def test_a_private_key_that_was_published_verifies_nothing(customers: CustomerTokens, issuer: Issuer) -> None:
    issuer.publish(RSAAlgorithm.to_jwk(rsa_key(), as_dict=True) | {"kid": "one"})

    assert await refusal(customers, signed(rsa_key(), "one")) == "unauthorized"


async def test_a_short_rsa_key_verifies_nothing(customers: CustomerTokens, issuer: Issuer) -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - short on purpose
    issuer.publish(published(short, "short"))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = signed(short, "short")

    assert await refusal(customers, token) == "unauthorized"


async def test_a_token_without_a_key_id_is_for_the_only_key_of_its_kind(
    customers: CustomerTokens, issuer: Issuer
) -> None:
    issuer.publish(published(rsa_key(), "one"), published(ec_key()))

    assert await customers.verify(signed(rsa_key())) == "ann"
    assert await customers.verify(signed(ec_key())) == "ann"


async def test_a_token_without_a_key_id_is_refused_where_two_keys_could_be_meant(
    customers: CustomerTokens, issuer: Issuer
) -> None:
    issuer.publish(published(rsa_key(), "one"), published(rsa_key("two"), "two"))

    assert await refusal(customers, signed(rsa_key())) == "unauthorized"


async def test_the_issuer_learns_nothing_of_the_token(customers: CustomerTokens, issuer: Issuer) -> None:
    token = signed(rsa_key(), "one")
    await customers.verify(token)

    assert token.encode() not in issuer.heads[0]
    assert b"authorization" not in issuer.heads[0].lower()


@pytest.mark.parametrize(
    "sub", ["a", "auth0|507f1f77", "x" * 200, "two words", "é", "\u65e5\u672c", "a\nb", "😀" * 200]
)
async def test_a_sub_is_the_ref_as_it_stands(sub: str) -> None:
    assert await by_secret().verify(signed(SECRET, sub=sub)) == sub


@pytest.mark.parametrize(
    "sub", ["", " ", "\t\n", "\u00a0", " ann", "ann ", "ann\n", "x" * 201, "a\0b", "\0", "\ud800", 7, ["ann"], {}, True]
)
async def test_a_sub_that_no_customer_could_have_as_ref_is_refused(sub: object) -> None:
    assert await refusal(by_secret(), signed(SECRET, sub=sub)) == "unauthorized"


@pytest.mark.parametrize("changes", [{"exp": -30}, {"nbf": 30}, {"iat": 30}])
async def test_clocks_may_differ_by_less_than_a_minute(changes: dict[str, int]) -> None:
    times: dict[str, Any] = {name: int(time.time()) + seconds for name, seconds in changes.items()}

    assert await by_secret().verify(signed(SECRET, **times)) == "ann"


@pytest.mark.parametrize("changes", [{"exp": -90}, {"nbf": 90}, {"iat": 90}])
async def test_clocks_may_not_differ_by_more(changes: dict[str, int]) -> None:
    times: dict[str, Any] = {name: int(time.time()) + seconds for name, seconds in changes.items()}

    assert await refusal(by_secret(), signed(SECRET, **times)) == "unauthorized"


@pytest.mark.parametrize("exp", [float("nan"), float("inf"), "soon", [], {}])
async def test_an_end_that_is_no_time_is_refused(exp: object) -> None:
    assert await refusal(by_secret(), signed(SECRET, exp=exp)) == "unauthorized"


async def test_a_public_key_given_as_the_secret_verifies_nothing() -> None:
    pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"

    assert await refusal(by_secret(pem), signed(SECRET)) == "unauthorized"


async def test_while_the_secret_changes_tokens_of_both_are_taken() -> None:
    old, new = "the-old-secret-of-the-sign-in-for-tests", "the-new-secret-of-the-sign-in-for-tests"
    customers = by_secret(f"{new}, {old}")

    assert await customers.verify(signed(new)) == await customers.verify(signed(old)) == "ann"
    for wrong in (f"{new}, {old}", f"{new},{old}", "a-third-secret-of-the-sign-in-for-tests"):
        assert await refusal(customers, signed(wrong)) == "unauthorized"
    with pytest.raises(Problem, match="unauthorized") as refused:
        await customers.verify(signed(new, exp=1))
    assert refused.value.detail == "The token has expired."


async def test_without_a_setting_for_them_no_token_is_taken() -> None:
    customers = CustomerTokens(Settings(_env_file=None))

    for token in (signed(SECRET), signed(rsa_key(), "one"), signed(ec_key())):
        assert await refusal(customers, token) == "unauthorized"
