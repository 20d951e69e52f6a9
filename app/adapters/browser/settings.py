"""What an admin says of a provider with a web form: where to sign in, what to fill in, how to read what comes of it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from app.adapters.templates import ORDER_NAMES, check_names
from app.settings import is_loopback


def _over(*names: str) -> AfterValidator:
    def check(text: str) -> str:
        check_names(text, names)
        return text

    return AfterValidator(check)


def _origin(text: str) -> str:
    url = TypeAdapter(HttpUrl).validate_python(text)
    if url.scheme != "https" and not is_loopback(url.host or ""):
        msg = "a site is reached over https, or over http on this machine"
        raise ValueError(msg)
    # the host becomes a rule of Chromium's, where a star would open every other
    if not re.fullmatch(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]", url.host or ""):
        msg = "a host is letters, digits, dots and hyphens"
        raise ValueError(msg)
    if url.username or url.password or url.query or url.fragment or url.path not in {None, "/"}:
        msg = "only scheme, host and port belong here"
        raise ValueError(msg)
    return str(url).removesuffix("/")


def _plain_path(text: str) -> str:
    if not re.fullmatch(r"/(?![/\\])[!-~]*", text):
        msg = "a path starts with one slash and has no blanks"
        raise ValueError(msg)
    return text


Origin = Annotated[str, AfterValidator(_origin)]
LoginPath = Annotated[str, Field(max_length=2000), AfterValidator(_plain_path), _over()]
Path = Annotated[str, Field(max_length=2000), AfterValidator(_plain_path), _over("target.*")]
Selector = Annotated[str, Field(min_length=1, max_length=500)]
TargetText = Annotated[str, Field(min_length=1, max_length=500), _over("target.*")]
LoginText = Annotated[str, Field(max_length=500), _over("credentials.*")]
OrderText = Annotated[str, Field(max_length=500), _over(*ORDER_NAMES)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Sign(_Strict):
    """Something a page shows: an element, words, or an element with these words."""

    selector: Selector | None = None
    text: TargetText | None = None

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        if self.selector is None and self.text is None:
            msg = "a rule looks for a selector, a text, or both"
            raise ValueError(msg)
        return self


class LoginRule(_Sign):
    """What it means if a page shows this after signing in."""

    finding: Literal["valid", "bad_credentials", "rate_limited", "unavailable", "refused"]


class BookRule(_Sign):
    """What it means if a page shows this after the click; in place of the form, `booked` and `unknown` do not count."""

    finding: Literal[
        "booked", "full", "not_open_yet", "bad_credentials", "rate_limited", "unavailable", "refused", "unknown"
    ]


class LookupRule(_Sign):
    """What it means if the page of bookings shows this."""

    finding: Literal["booked", "absent", "unknown"]


class Login(_Strict):
    """How to sign in. `fields` maps selectors to templates over `credentials`."""

    path: LoginPath
    fields: dict[Selector, LoginText] = Field(min_length=1, max_length=20)
    submit: Selector
    rules: list[LoginRule] = Field(min_length=1, max_length=20)


class Book(_Strict):
    """How to book. `fields` maps selectors to templates over `target` and `customer`; the first true rule counts."""

    path: Path
    fields: dict[Selector, OrderText] = Field(default_factory=dict, max_length=50)
    submit: Selector
    rules: list[BookRule] = Field(min_length=1, max_length=20)
    confirmation: Selector | None = None
    idempotency_field: Selector | None = None
    reload_at_instant: bool = False


class Lookup(_Strict):
    """Where the customer's bookings are. `confirmation` is looked for within what the rule found."""

    path: Path
    rules: list[LookupRule] = Field(min_length=1, max_length=20)
    confirmation: Selector | None = None


class BrowserSettings(_Strict):
    """One provider. A form has `page_seconds` to get ready, and what follows a click `outcome_seconds` to show."""

    base_url: Origin
    login: Login
    book: Book
    lookup: Lookup | None = None
    page_seconds: float = Field(default=15, ge=0.5, le=120)
    outcome_seconds: float = Field(default=30, ge=0.5, le=120)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The settings. Raises ValueError, in an admin's words and without the values, if they are wrong."""
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, one['loc'])) or 'settings'}: {one['msg']}" for one in error.errors()]
            raise ValueError("; ".join(wrong)) from None
