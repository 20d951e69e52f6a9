"""All that the environment decides, read once and passed in. `.env.example` and `holdfast doctor` list the same."""

import ipaddress
import re
from collections.abc import Callable
from datetime import time
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, IPvAnyNetwork, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.deadlines import Deadlines
from app.encryption import EncryptionKeys
from app.signatures import SigningKey

MIN_SECRET_LENGTH = 16
# RFC 7518, section 3.2: a key for HS256 is as long as what it makes.
MIN_JWT_SECRET_LENGTH = 32
MIN_LINK_SECRET_LENGTH = 32
_QUIET_HOURS = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"


def _at_least(length: int) -> Callable[[SecretStr], SecretStr]:
    def check(secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < length:
            msg = f"a secret needs at least {length} characters"
            raise ValueError(msg)
        return secret

    return check


def _each_at_least(length: int) -> Callable[[SecretStr], SecretStr]:
    check = _at_least(length)

    def check_each(secrets: SecretStr) -> SecretStr:
        parts = secrets_in(secrets)
        if not parts:
            msg = "there is no secret between the commas"
            raise ValueError(msg)
        for part in parts:
            check(SecretStr(part))
        return secrets

    return check_each


def secrets_in(secrets: SecretStr | None) -> list[str]:
    """The secrets that stand there with commas between: while one gives way to the next, both are taken."""
    return [part.strip() for part in secrets.get_secret_value().split(",") if part.strip()] if secrets else []


def is_loopback(host: str) -> bool:
    """Whether the host, as it stands in a URL, is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _safe_to_trust(url: HttpUrl) -> HttpUrl:
    # Whoever can change the keys on their way is every customer.
    if url.scheme != "https" and not is_loopback(url.host or ""):
        msg = "keys come over https, or over http from this machine"
        raise ValueError(msg)
    if url.username or url.password:
        msg = "public keys need no password"
        raise ValueError(msg)
    return url


def _plain_identifier(name: str) -> str:
    # The name goes into SQL as it stands, so nothing but a plain identifier may come through.
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name) or name.startswith("pg_"):
        msg = "a schema name is lower-case letters, digits and underscores"
        raise ValueError(msg)
    return name


def _usable_keys(secret: SecretStr) -> SecretStr:
    EncryptionKeys(secret.get_secret_value())
    return secret


def _signing_key(secret: SecretStr) -> SecretStr:
    SigningKey(secret.get_secret_value())
    return secret


def _smtp_server(secret: SecretStr) -> SecretStr:
    url = urlsplit(secret.get_secret_value())
    # reading the port raises where it is none
    if url.scheme not in ("smtp", "smtps") or not url.hostname or url.port == 0:
        msg = "is not like smtp://user:password@host:587 or smtps://user:password@host:465"
        raise ValueError(msg)
    return secret


def _sender(text: str) -> str:
    name, address = parseaddr(text)
    is_address = re.fullmatch(r"[\x21-\x3f\x41-\x7e]+@[A-Za-z0-9.-]+", address)
    if not is_address or not name.isprintable():
        msg = "is not like bookings@example.com or Example <bookings@example.com>"
        raise ValueError(msg)
    return text


def _safe_to_send_to(url: HttpUrl) -> HttpUrl:
    # a token goes there with every message
    if url.scheme != "https" and not is_loopback(url.host or ""):
        msg = "messages go over https, or over http to this machine"
        raise ValueError(msg)
    if url.username or url.password or url.query:
        msg = "takes no password and no query"
        raise ValueError(msg)
    return url


def _safe_to_link_to(url: HttpUrl) -> HttpUrl:
    # whoever reads a link on its way can answer for its owner
    if url.scheme != "https" and not is_loopback(url.host or ""):
        msg = "links go to https, or to http on this machine"
        raise ValueError(msg)
    if url.username or url.password or url.query or url.fragment:
        msg = "takes no password, no query and no fragment"
        raise ValueError(msg)
    return url


def _split(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


# requests a minute; 0: no limit
RateLimit = Annotated[int, Field(ge=0, le=100_000)]
Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Settings from the environment (and `.env`); every field is documented in `.env.example`."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    database_url: SecretStr | None = None
    db_schema: Annotated[str, AfterValidator(_plain_identifier)] = "holdfast"
    db_pooler: Literal["none", "transaction"] = "none"
    db_pool_size: Annotated[int, Field(ge=1, le=100)] = 10
    lock_timeout_seconds: Seconds = 3.0
    statement_timeout_seconds: Seconds = 6.0
    request_timeout_seconds: Seconds = 15.0
    data_dir: Path | None = None
    pg_bin: Path | None = None
    cron_secret: Annotated[SecretStr, AfterValidator(_each_at_least(MIN_SECRET_LENGTH))] | None = None
    jwt_secret: Annotated[SecretStr, AfterValidator(_each_at_least(MIN_JWT_SECRET_LENGTH))] | None = None
    jwks_url: Annotated[HttpUrl, AfterValidator(_safe_to_trust)] | None = None
    jwt_audience: str | None = None
    jwt_issuer: str | None = None
    stripe_webhook_secret: Annotated[SecretStr, AfterValidator(_at_least(MIN_SECRET_LENGTH))] | None = None
    encryption_keys: Annotated[SecretStr, AfterValidator(_usable_keys)] | None = None
    audit_signing_key: Annotated[SecretStr, AfterValidator(_signing_key)] | None = None
    webhook_allowed_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split)] = ()
    smtp_url: Annotated[SecretStr, AfterValidator(_smtp_server)] | None = None
    mail_from: Annotated[str, AfterValidator(_sender)] | None = None
    sms_url: Annotated[HttpUrl, AfterValidator(_safe_to_send_to)] | None = None
    sms_account: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] | None = None
    sms_token: Annotated[SecretStr, AfterValidator(_at_least(MIN_SECRET_LENGTH))] | None = None
    sms_from: str | None = None
    sms_region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    sms_inbound_url: HttpUrl | None = None
    quiet_hours: Annotated[str, Field(pattern=_QUIET_HOURS)] = "22:00-08:00"
    message_language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en"
    message_templates: Path | None = None
    public_url: Annotated[HttpUrl, AfterValidator(_safe_to_link_to)] | None = None
    link_secret: Annotated[SecretStr, AfterValidator(_at_least(MIN_LINK_SECRET_LENGTH))] | None = None
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split)] = ()
    behind_tls: bool = False
    rate_limit_read: RateLimit = 0
    rate_limit_write: RateLimit = 0
    rate_limit_key_read: RateLimit = 0
    rate_limit_key_write: RateLimit = 0
    worker: bool = False
    jobs_overdue_seconds: Annotated[int, Field(ge=1)] = 180
    jobs_keep_days: Annotated[int, Field(ge=1, le=3650)] = 3
    jobs_keep_discarded_days: Annotated[int, Field(ge=1, le=3650)] = 30
    deliveries_keep_days: Annotated[int, Field(ge=1, le=3650)] = 30
    messages_keep_days: Annotated[int, Field(ge=1, le=3650)] = 365
    prebookings_keep_days: Annotated[int, Field(ge=1, le=3650)] = 365
    customers_keep_days: Annotated[int, Field(ge=30, le=36500)] | None = None
    # 0: for ever
    audit_keep_months: Annotated[int, Field(ge=0, le=1200)] = 0
    audit_keep_address_days: Annotated[int, Field(ge=0, le=3650)] = 365
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _have_a_ladder(self) -> Self:
        if fault := self.deadlines.fault:
            raise ValueError(fault)
        return self

    @property
    def deadlines(self) -> Deadlines:
        """How long a lock, a statement and a request may take."""
        return Deadlines(self.lock_timeout_seconds, self.statement_timeout_seconds, self.request_timeout_seconds)

    @property
    def takes_customer_tokens(self) -> bool:
        """Whether any customer token can be verified."""
        return self.jwt_secret is not None or self.jwks_url is not None

    @property
    def quiet_times(self) -> tuple[time, time]:
        """From when to when, by a customer's clocks, no SMS and no reminder goes out."""
        begins, ends = self.quiet_hours.split("-")
        return time.fromisoformat(begins), time.fromisoformat(ends)

    @property
    def keys_of_credentials(self) -> EncryptionKeys | None:
        """The keys that encrypt customers' credentials and webhooks' secrets; None where there are none."""
        return EncryptionKeys(self.encryption_keys.get_secret_value()) if self.encryption_keys else None

    @property
    def key_of_checkpoints(self) -> SigningKey | None:
        """The key that signs checkpoints of the audit trail; None where there is none."""
        return SigningKey(self.audit_signing_key.get_secret_value()) if self.audit_signing_key else None

    @property
    def dsn(self) -> str:
        """DATABASE_URL as asyncpg reads it, whichever of its common spellings a provider hands out.

        Raises RuntimeError when there is none.
        """
        if self.database_url is None:
            msg = "DATABASE_URL is not set and no embedded Postgres was started"
            raise RuntimeError(msg)
        url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", self.database_url.get_secret_value())
        # libpq's option, which asyncpg would send to the server as a setting it does not know
        return re.sub(r"channel_binding=\w+&?", "", url).rstrip("?&")
