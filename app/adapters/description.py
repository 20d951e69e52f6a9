"""A provider described in data: the `settings` of the adapter `http_json`. docs/providers.md has a worked example."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    StringConstraints,
    ValidationError,
    model_validator,
)

from app.adapters.templates import ORDER_NAMES, check_names
from app.schemas import Metadata
from app.settings import is_loopback

# What says where a request ends and who it is for is not an admin's to set.
FRAMING = {
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


def _secret_safe(url: HttpUrl) -> HttpUrl:
    if url.scheme != "https" and not is_loopback(url.host or ""):
        msg = "credentials travel over https, or over http within this machine"
        raise ValueError(msg)
    if url.username or url.password or url.query or url.fragment:
        msg = "must be a scheme, a host and perhaps a port and a path"
        raise ValueError(msg)
    return url


def _not_framing(name: str) -> str:
    if name.lower() in FRAMING:
        msg = f"{name} is set by Holdfast"
        raise ValueError(msg)
    return name


Path = Annotated[str, StringConstraints(pattern=r"^/[!\"$-~]*$", max_length=1000)]
HeaderName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"), AfterValidator(_not_framing)
]
HeaderText = Annotated[str, StringConstraints(pattern=r"^([!-~]([ -~]*[!-~])?)?$", max_length=1000)]
# `errors.0.code`: members of objects by name, of arrays by number
JsonPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=200)]
Seconds = Annotated[float, Field(gt=0, le=60)]


class Part(BaseModel):
    """A part of the description: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Rule(Part):
    """An answer of this status whose body has this value at this path means that. What is left out may be anything."""

    status: Annotated[int, Field(ge=200, le=599)] | None = None
    path: JsonPath | None = None
    equals: str | int | float | bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.status is None and self.path is None:
            msg = "a rule needs a status or a path"
            raise ValueError(msg)
        if "equals" in self.model_fields_set and self.path is None:
            msg = "equals needs a path"
            raise ValueError(msg)
        return self


class LoginRule(Rule):
    """What an answer to a login means."""

    finding: Literal["valid", "bad_credentials", "rate_limited", "unavailable", "refused"]


class BookingRule(Rule):
    """What an answer to a booking means."""

    finding: Literal[
        "booked", "full", "not_open_yet", "bad_credentials", "rate_limited", "unavailable", "refused", "unknown"
    ]


class LookupRule(Rule):
    """What an answer to a lookup means."""

    finding: Literal["booked", "absent", "bad_credentials", "rate_limited", "unknown"]


class Request(Part):
    """A request as a template, and where in the answer's body a sentence for people stands."""

    names: ClassVar[frozenset[str]] = ORDER_NAMES

    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    path: Path
    headers: dict[HeaderName, HeaderText] = {}
    body: Metadata | None = None
    message: JsonPath | None = None

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        check_names([self.path, *self.headers.values(), self.body], self.names)
        return self


class Login(Request):
    """How a customer is let in."""

    names: ClassVar[frozenset[str]] = frozenset({"credentials.*"})

    rules: Annotated[list[LoginRule], Field(min_length=1, max_length=50)]
    token: JsonPath | None = None


class Session(Part):
    """What later requests carry: headers of the token and the credentials, and the cookies that the login set."""

    headers: dict[HeaderName, HeaderText] = {}
    cookies: bool = False

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        check_names([*self.headers.values()], {"token", "credentials.*"})
        return self


class Booking(Request):
    """How one thing is booked. Without `idempotency_header` the provider is taken to book again what comes again."""

    rules: Annotated[list[BookingRule], Field(min_length=1, max_length=50)]
    confirmation: JsonPath | None = None
    idempotency_header: HeaderName | None = None


class Lookup(Request):
    """How to learn what became of an order."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = "GET"
    rules: Annotated[list[LookupRule], Field(min_length=1, max_length=50)]
    confirmation: JsonPath | None = None


class ClockProbe(Part):
    """A cheap request, and the header of its answer that shows the time: an HTTP date, or milliseconds since 1970."""

    method: Literal["GET", "HEAD"] = "HEAD"
    path: Path = "/"
    header: HeaderName = "Date"
    unit: Literal["date", "milliseconds"] = "date"

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        check_names(self.path, ())
        return self


class Limits(Part):
    """Seconds until a connection stands, the first byte of an answer comes, and the answer has ended."""

    connect: Seconds = 3.0
    first_byte: Seconds = 5.0
    whole: Seconds = 8.0


class Description(Part):
    """A provider that speaks JSON over HTTP."""

    base_url: Annotated[HttpUrl, AfterValidator(_secret_safe)]
    booking: Booking
    login: Login | None = None
    session: Session = Session()
    lookup: Lookup | None = None
    clock: ClockProbe = ClockProbe()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _session_has_its_token(self) -> Self:
        has_token = self.login is not None and self.login.token is not None
        if not has_token and any("{token}" in text for text in self.session.headers.values()):
            msg = "{token} needs login.token, the path where the token stands"
            raise ValueError(msg)
        return self

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The description in these settings. Raises ValueError, which names each field that is wrong, and no value."""
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            wrong = (f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()[:10])
            raise ValueError("; ".join(wrong)) from None
