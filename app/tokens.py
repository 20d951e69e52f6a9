"""Customer tokens: a JWT that the frontend's own sign-in issued becomes the customer's ref, or the call is refused."""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import httpx2
import jwt
import structlog
from jwt.algorithms import HMACAlgorithm

from app.errors import Problem
from app.settings import Settings, secrets_in

logger = structlog.get_logger(__name__)

MAX_TOKEN_LENGTH = 8192
LEEWAY_SECONDS = 60

SECRET_ALGORITHM = "HS256"  # noqa: S105 - the name of an algorithm
PUBLIC_ALGORITHMS = ("RS256", "ES256")

FETCH_SECONDS = 3
MAX_SET_BYTES = 256 * 1024
# A withdrawn key verifies nothing after this long, while its issuer answers.
SET_CACHE_SECONDS = 600
# Anybody can make up a key id, so ids do not decide how often the issuer is asked.
REFETCH_SECONDS = 30
# As long as problems tell clients to wait: before the first answer there is nothing to serve meanwhile.
FIRST_FETCH_RETRY_SECONDS = 1

# What the customers table can hold. Space around it would be lost where a request names the same customer.
_REF = re.compile(r"(?!\s)[^\x00\ud800-\udfff]{1,200}(?<!\s)")

# Met only after the signature was found good, so these tell a stranger nothing.
_REASONS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidAudienceError: "The token was made for another audience.",
    jwt.InvalidIssuerError: "The token comes from another issuer.",
}


class SignedTokenRefused(Problem):
    """A token that one of our keys signed, and that does not open: whoever sends it has not guessed."""


class CustomerTokens:
    """Verifies tokens as the settings say; with neither JWT_SECRET nor JWKS_URL it refuses them all."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._secrets = [_secret_key(secret) for secret in secrets_in(settings.jwt_secret)]
        self._published = KeySet(str(settings.jwks_url), clock) if settings.jwks_url else None
        self._audience = settings.jwt_audience
        self._issuer = settings.jwt_issuer

    async def verify(self, token: str) -> str:
        """The ref of the customer who holds this token.

        Raises Problem `unauthorized`, as SignedTokenRefused where the signature was good, or `unavailable` while the
        issuer's keys have never been fetched.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise Problem("unauthorized", "The token is too long.")
        try:
            keys = await self._keys_for(jwt.get_unverified_header(token))
            if not keys:
                raise Problem("unauthorized", "No key of ours verifies the token.")
            return _customer_ref(self._claims_by_any(token, keys))
        except jwt.MissingRequiredClaimError as error:
            raise SignedTokenRefused("unauthorized", f"The token lacks {error.claim}.") from None
        except tuple(_REASONS) as error:
            raise SignedTokenRefused("unauthorized", _REASONS[type(error)]) from None
        except jwt.PyJWTError:
            raise Problem("unauthorized", "The token is not valid.") from None

    async def _keys_for(self, header: dict[str, Any]) -> list[jwt.PyJWK]:
        # The header only chooses among keys; each is bound to the one algorithm that its own kind allows.
        algorithm = header.get("alg")
        if algorithm == SECRET_ALGORITHM:
            return self._secrets
        if self._published and algorithm in PUBLIC_ALGORITHMS:
            found = await self._published.find(algorithm, header.get("kid"))
            return [found] if found else []
        return []

    def _claims_by_any(self, token: str, keys: list[jwt.PyJWK]) -> dict[str, Any]:
        for key in keys[:-1]:
            with suppress(jwt.InvalidSignatureError):
                return self._claims(token, key)
        return self._claims(token, keys[-1])

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=self._audience,
            issuer=self._issuer,
            leeway=LEEWAY_SECONDS,
            options={
                "require": ["exp", "sub"],
                "verify_aud": self._audience is not None,
                "enforce_minimum_key_length": True,
            },
        )


class KeySet:
    """The public keys at JWKS_URL: fetched when first needed, then again as they age or an unknown id turns up."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._keys: list[jwt.PyJWK] | None = None
        self._fetched_at = self._tried_at = -math.inf
        self._lock = asyncio.Lock()

    async def find(self, algorithm: str, kid: str | None) -> jwt.PyJWK | None:
        """The key of that algorithm with that id, or the only one of it for a token that names none; else None.

        Raises Problem `unavailable` while the issuer has never answered.
        """
        key = self._pick(algorithm, kid)
        is_fresh = self._clock() < self._fetched_at + SET_CACHE_SECONDS
        # One caller waits for the issuer; the others go on with what is known.
        if key and (is_fresh or self._lock.locked()):
            return key
        await self._refresh()
        if self._keys is None:
            raise Problem("unavailable", "The keys that verify customer tokens cannot be fetched.")
        return self._pick(algorithm, kid)

    def _pick(self, algorithm: str, kid: str | None) -> jwt.PyJWK | None:
        found = [k for k in self._keys or () if k.algorithm_name == algorithm and (kid is None or kid == k.key_id)]
        return found[0] if len(found) == 1 else None

    async def _refresh(self) -> None:
        async with self._lock:
            pause = FIRST_FETCH_RETRY_SECONDS if self._keys is None else REFETCH_SECONDS
            if self._clock() < self._tried_at + pause:
                return
            try:
                self._keys = await _fetch(self._url)
                self._fetched_at = self._clock()
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, RecursionError) as error:
                logger.warning("customer keys not fetched", error=type(error).__name__)
            self._tried_at = self._clock()


async def _fetch(url: str) -> list[jwt.PyJWK]:
    body = bytearray()
    async with (
        # around the whole: the client's own time-outs begin anew with every byte
        asyncio.timeout(FETCH_SECONDS),
        httpx2.AsyncClient(timeout=None, follow_redirects=False) as client,
        # raw and unpacked: what is counted is all there is
        client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        _require(answer.status_code == HTTPStatus.OK)
        async for part in answer.aiter_raw():
            body += part
            _require(len(body) <= MAX_SET_BYTES)
    document = json.loads(body)
    _require(isinstance(document, dict) and isinstance(document.get("keys"), list))
    return [key for member in document["keys"] if (key := _public_key(member))]


def _require(is_set: bool) -> None:
    if not is_set:
        msg = "the answer is not a set of keys"
        raise ValueError(msg)


def _public_key(member: object) -> jwt.PyJWK | None:
    """The key, bound to the algorithm of its kind; None for a kind, a use or a private key that we do not take."""
    if not isinstance(member, dict) or "d" in member or member.get("use", "sig") != "sig":
        return None
    is_elliptic = (member.get("kty"), member.get("crv")) == ("EC", "P-256")
    algorithm = "ES256" if is_elliptic else "RS256" if member.get("kty") == "RSA" else None
    if algorithm is None or member.get("alg", algorithm) != algorithm:
        return None
    try:
        return jwt.PyJWK(member, algorithm)
    except jwt.PyJWTError:
        return None


def _secret_key(secret: str) -> jwt.PyJWK:
    return jwt.PyJWK(HMACAlgorithm.to_jwk(secret, as_dict=True), SECRET_ALGORITHM)


def _customer_ref(claims: dict[str, Any]) -> str:
    ref: str = claims["sub"]
    if not _REF.fullmatch(ref):
        raise SignedTokenRefused("unauthorized", "The token's sub cannot be a customer's ref.")
    return ref
