"""Who calls: a bearer token becomes an Actor, or the call is refused."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from app.client_address import client_address, principal_of
from app.database import TROUBLE, Database
from app.errors import Problem
from app.rate_limits import Failures, RateLimits
from app.settings import secrets_in
from app.tokens import CustomerTokens, SignedTokenRefused

Scope = Literal["admin", "frontend", "cron"]

KEY_PREFIX = "hf_"
SHOWN_PREFIX_LENGTH = 11
# A revoked key opens nothing after this many seconds; until then a busy key costs no look-up.
KEY_CACHE_SECONDS = 1.0
KEY_CACHE_SIZE = 10_000
# How often it is put on record which keys were used.
USES_SECONDS = 60.0
LAST_USES_SECONDS = 1.0
MAX_USER_AGENT = 300


class Actor(NamedTuple):
    """Who acts, as the audit trail records it. Passed to every SQL function that writes."""

    type: Literal["customer", "admin", "system"]
    id: str
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    # set for a customer with a token, who acts for nobody else
    customer_ref: str | None = None

    def json(self, reason: str | None = None) -> dict[str, str | None]:
        """The shape SQL functions take as `p_actor`, with the reason the caller gave."""
        return {**self._asdict(), "reason": reason}


class ApiKey(NamedTuple):
    """A live key: its id and what it may do."""

    id: str
    scopes: frozenset[str]


def new_api_key() -> str:
    """A fresh key: 256 random bits behind a prefix that secret scanners can look for."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> bytes:
    """What is stored of a key or token. Plain SHA-256: it is random, so there is nothing to guess slowly."""
    return hashlib.sha256(token.encode()).digest()


class KeyRing:
    """Finds API keys by their hash, remembering each answer for a second, and which of them were found."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._cache: dict[bytes, tuple[float, ApiKey | None]] = {}
        self._used: set[UUID] = set()

    async def find(self, key: str) -> ApiKey | None:
        """The live key behind this text, or None."""
        digest = hash_token(key)
        cached = self._cache.get(digest)
        if cached and cached[0] > self._clock():
            return cached[1]
        rows = await self._database.call("find_api_key", p_key_hash=digest)
        found = ApiKey(str(rows[0]["key_id"]), frozenset(rows[0]["scopes"])) if rows else None
        if rows:
            self._used.add(rows[0]["key_id"])
        if len(self._cache) >= KEY_CACHE_SIZE:
            self._cache.clear()
        self._cache[digest] = (self._clock() + KEY_CACHE_SECONDS, found)
        return found

    async def record_uses(self) -> None:
        """Put on record which keys were found since the last time; what does not get through, the next time will."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await self._database.call_value("record_api_key_uses", p_key_ids=list(used))
        except TROUBLE:
            self._used |= used


@asynccontextmanager
async def recording_uses(keys: KeyRing) -> AsyncIterator[None]:
    """Record the uses of keys once a minute inside the block, and a last time at its end."""

    async def record() -> None:
        while True:
            await asyncio.sleep(USES_SECONDS)
            await keys.record_uses()

    task = asyncio.create_task(record())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # a database that is away does not keep the process from ending
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_USES_SECONDS):
                await keys.record_uses()


def _bearer_token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("unauthorized")
    return token.strip()


def count_failure(request: Request) -> None:
    """Count a token that is none of ours against its address. Raises Problem `rate_limited` where they are too many.

    A good token passes all the same: whoever guesses takes nobody with them who shares their address.
    """
    failures: Failures = request.app.state.failures
    address = client_address(request)
    if address:
        failures.count(principal_of(address))


async def _count(request: Request, principal: str, *, by_key: bool = False) -> None:
    limits: RateLimits = request.app.state.rate_limits
    await limits.admit(request, principal, by_key=by_key)


def actor_of(request: Request, actor_type: Literal["customer", "admin", "system"], actor_id: str) -> Actor:
    """The actor of that name behind this request, with what the audit trail records of its origin."""
    address = client_address(request)
    return Actor(
        actor_type,
        actor_id,
        str(address) if address else None,
        request.headers.get("user-agent", "")[:MAX_USER_AGENT] or None,
        request.state.request_id,
    )


class Bearer(SecurityBase):
    """The bearer scheme of the API docs, asking for one of these scopes; `admin` opens everything.

    With `customers`, a customer token opens it too.
    """

    def __init__(self, *scopes: Scope, customers: bool = False) -> None:
        self.model = HTTPBearerModel(description="An API key: `holdfast keys create --scope admin|frontend|cron`.")
        self.scheme_name = "api_key"
        self.scopes = frozenset({*scopes, "admin"})
        self.customers = customers

    async def __call__(self, request: Request) -> Actor:
        """The actor behind the request, who is asked once for each.

        Raises Problem `unauthorized`, `forbidden` or `rate_limited`; with `customers` also `unavailable`.
        """
        known: dict[Bearer, Actor] = request.scope.setdefault("holdfast.actors", {})
        if self not in known:
            known[self] = await self._admit(request)
        return known[self]

    async def _admit(self, request: Request) -> Actor:
        actor = await self.authenticate(request)
        # a customer's limit is the customer's, from wherever they call
        await _count(request, actor.id, by_key=actor.customer_ref is None)
        return actor

    async def authenticate(self, request: Request) -> Actor:
        """The same, without counting the request against a limit."""
        token = _bearer_token(request)
        if token.startswith(KEY_PREFIX):
            return await self._by_key(request, token)
        if self.customers:
            return await _by_customer_token(request, token)
        count_failure(request)
        raise Problem("unauthorized")

    async def _by_key(self, request: Request, token: str) -> Actor:
        keys: KeyRing = request.app.state.keys
        key = await keys.find(token)
        if key is None:
            count_failure(request)
            raise Problem("unauthorized")
        if not key.scopes & self.scopes:
            raise Problem("forbidden", facts={"needs_scope": sorted(self.scopes)})
        # A frontend speaks for its customers; the trail names the key it spoke through.
        return actor_of(request, "admin" if "admin" in key.scopes else "customer", f"api_key:{key.id}")


async def _by_customer_token(request: Request, token: str) -> Actor:
    tokens: CustomerTokens = request.app.state.tokens
    try:
        ref = await tokens.verify(token)
    except Problem as problem:
        # whoever has a token of ours needs to hear that it is over, not how many others were wrong
        if problem.code == "unauthorized" and not isinstance(problem, SignedTokenRefused):
            count_failure(request)
        raise
    return actor_of(request, "customer", f"customer:{ref}")._replace(customer_ref=ref)


class CronBearer(Bearer):
    """Like Bearer("cron"), and CRON_SECRET opens it too."""

    def __init__(self) -> None:
        super().__init__("cron")

    async def _admit(self, request: Request) -> Actor:
        """The actor `cron`, however often it calls."""
        token = _bearer_token(request)
        known = [secret.encode() for secret in secrets_in(request.app.state.settings.cron_secret)]
        # all of them, whichever it was
        if any([secrets.compare_digest(token.encode(), secret) for secret in known]):  # noqa: C419
            return actor_of(request, "system", "cron")
        return (await self.authenticate(request))._replace(type="system")


class Scheme(SecurityBase):
    """Names in the API docs what else opens a Bearer, which has room for one scheme; it decides nothing."""

    def __init__(self, name: str, model: HTTPBearerModel) -> None:
        self.scheme_name = name
        self.model = model

    async def __call__(self) -> None:
        """Nothing: the Bearer beside it reads the token."""


admin_only = Bearer()
frontend_or_admin = Bearer("frontend")
customer_or_frontend = Bearer("frontend", customers=True)
cron_only = CronBearer()
customer_token = Scheme(
    "customer_token",
    HTTPBearerModel(bearerFormat="JWT", description="A customer's token, signed by your own sign-in."),
)
cron_secret = Scheme("cron_secret", HTTPBearerModel(description="The server's CRON_SECRET."))


async def _customer_actor(
    actor: Annotated[Actor, Depends(customer_or_frontend)], _scheme: Annotated[None, Depends(customer_token)]
) -> Actor:
    return actor


async def _cron_actor(
    actor: Annotated[Actor, Depends(cron_only)], _scheme: Annotated[None, Depends(cron_secret)]
) -> Actor:
    return actor


async def _visitor(request: Request) -> None:
    """Whoever reads what is public: limited by their key if they show one, else by their address."""
    token = request.headers.get("authorization", "").partition(" ")[2].strip()
    limits: RateLimits = request.app.state.rate_limits
    if token.startswith(KEY_PREFIX) and limits.are_on:
        keys: KeyRing = request.app.state.keys
        key = await keys.find(token)
        if key:
            return await _count(request, f"api_key:{key.id}", by_key=True)
    address = client_address(request)
    if address:
        await _count(request, principal_of(address))
    return None


Visitor = Annotated[None, Depends(_visitor)]
AdminActor = Annotated[Actor, Depends(admin_only)]
FrontendActor = Annotated[Actor, Depends(frontend_or_admin)]
CustomerActor = Annotated[Actor, Depends(_customer_actor)]
CronActor = Annotated[Actor, Depends(_cron_actor)]
