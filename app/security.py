"""Who calls: a bearer token becomes an Actor, or the call is refused."""

import hashlib
import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, NamedTuple

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from app.database import Database
from app.errors import Problem
from app.tokens import CustomerTokens

Scope = Literal["admin", "frontend", "cron"]

KEY_PREFIX = "hf_"
SHOWN_PREFIX_LENGTH = 11
# A revoked key opens nothing after this many seconds; until then a busy key costs no look-up.
KEY_CACHE_SECONDS = 1.0
KEY_CACHE_SIZE = 10_000
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


def hash_api_key(key: str) -> bytes:
    """What is stored of a key. Plain SHA-256: the key is random, so there is nothing to guess slowly."""
    return hashlib.sha256(key.encode()).digest()


class KeyRing:
    """Finds API keys by their hash, remembering each answer for a second."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._cache: dict[bytes, tuple[float, ApiKey | None]] = {}

    async def find(self, key: str) -> ApiKey | None:
        """The live key behind this text, or None."""
        digest = hash_api_key(key)
        cached = self._cache.get(digest)
        if cached and cached[0] > self._clock():
            return cached[1]
        rows = await self._database.call("find_api_key", p_key_hash=digest)
        found = ApiKey(str(rows[0]["key_id"]), frozenset(rows[0]["scopes"])) if rows else None
        if len(self._cache) >= KEY_CACHE_SIZE:
            self._cache.clear()
        self._cache[digest] = (self._clock() + KEY_CACHE_SECONDS, found)
        return found


def _bearer_token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("unauthorized")
    return token.strip()


def _client_ip(request: Request) -> str | None:
    try:
        # without the zone of a link-local address, which Postgres's inet does not know
        return str(ipaddress.ip_address(request.client.host.partition("%")[0])) if request.client else None
    except ValueError:
        return None


def actor_of(request: Request, actor_type: Literal["customer", "admin", "system"], actor_id: str) -> Actor:
    """The actor of that name behind this request, with what the audit trail records of its origin."""
    return Actor(
        actor_type,
        actor_id,
        _client_ip(request),
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
        """The actor behind the request.

        Raises Problem `unauthorized` or `forbidden`; with `customers` also `unavailable`.
        """
        token = _bearer_token(request)
        if token.startswith(KEY_PREFIX):
            return await self._by_key(request, token)
        if self.customers:
            return await _by_customer_token(request, token)
        raise Problem("unauthorized")

    async def _by_key(self, request: Request, token: str) -> Actor:
        keys: KeyRing = request.app.state.keys
        key = await keys.find(token)
        if key is None:
            raise Problem("unauthorized")
        if not key.scopes & self.scopes:
            raise Problem("forbidden", facts={"needs_scope": sorted(self.scopes)})
        # A frontend speaks for its customers; the trail names the key it spoke through.
        return actor_of(request, "admin" if "admin" in key.scopes else "customer", f"api_key:{key.id}")


async def _by_customer_token(request: Request, token: str) -> Actor:
    tokens: CustomerTokens = request.app.state.tokens
    ref = await tokens.verify(token)
    return actor_of(request, "customer", f"customer:{ref}")._replace(customer_ref=ref)


class CustomerScheme(SecurityBase):
    """Names customer tokens in the API docs, where one Bearer has room for one scheme; it decides nothing."""

    model = HTTPBearerModel(bearerFormat="JWT", description="A customer's token, signed by your own sign-in.")
    scheme_name = "customer_token"

    async def __call__(self) -> None:
        """Nothing: the Bearer beside it reads the token."""


class CronBearer(Bearer):
    """Like Bearer("cron"), and CRON_SECRET opens it too."""

    def __init__(self) -> None:
        super().__init__("cron")

    async def __call__(self, request: Request) -> Actor:
        """The actor `cron`. Raises Problem `unauthorized` or `forbidden`."""
        secret = request.app.state.settings.cron_secret
        token = _bearer_token(request)
        if secret and secrets.compare_digest(token.encode(), secret.get_secret_value().encode()):
            return actor_of(request, "system", "cron")
        return (await super().__call__(request))._replace(type="system")


Authenticate = Callable[[Request], Awaitable[Actor]]
admin_only: Authenticate = Bearer()
frontend_or_admin: Authenticate = Bearer("frontend")
customer_or_frontend: Authenticate = Bearer("frontend", customers=True)
cron_only: Authenticate = CronBearer()


async def _customer_actor(
    actor: Annotated[Actor, Depends(customer_or_frontend)], _scheme: Annotated[None, Depends(CustomerScheme())]
) -> Actor:
    return actor


AdminActor = Annotated[Actor, Depends(admin_only)]
FrontendActor = Annotated[Actor, Depends(frontend_or_admin)]
CustomerActor = Annotated[Actor, Depends(_customer_actor)]
CronActor = Annotated[Actor, Depends(cron_only)]
