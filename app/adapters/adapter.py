"""What an adapter for a provider is: three things it can do, and the words in which it answers.

A provider is a booking site outside. An adapter is one class, found by its entry point in the group
`holdfast.adapters`, made anew for each prebooking with the provider's settings and closed when that is over.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

# booked: it is ours, and confirmed; absent: it is certain that we have nothing there (answer of a lookup)
# full, not_open_yet: said by the provider of what was asked for; bad_credentials: it does not let this customer in
# rate_limited: too many requests, nothing was done; unavailable: nothing was done, and it may work later
# refused: nothing was done, and never will be; unknown: the request left, and nobody knows what became of it
# valid: the credentials let the customer in (answer of a check)
Finding = Literal[
    "booked",
    "absent",
    "full",
    "not_open_yet",
    "bad_credentials",
    "rate_limited",
    "unavailable",
    "refused",
    "unknown",
    "valid",
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider said, in our words. `detail` is short, for a person, and holds no secret."""

    finding: Finding
    confirmation: str | None = None
    retry_after: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What lets one customer in at one provider, as that customer stored it: user name, password, token."""

    fields: Mapping[str, str] = field(repr=False)

    def hide(self, text: str, shortest: int = 1) -> str:
        """The text, storable, without what a careless adapter repeats of secrets of so many characters and more."""
        # the longest first: one may be part of another
        for secret in sorted(self.fields.values(), key=len, reverse=True):
            text = text.replace(secret, "…") if len(secret) >= shortest else text
        return text.encode(errors="replace").decode().replace("\0", "")


@dataclass(frozen=True, slots=True)
class Order:
    """One thing to book. The key is the same however often the order is sent, and another for another thing."""

    target: Mapping[str, Any]
    idempotency_key: str
    customer: Mapping[str, str | None] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Clock:
    """How far the provider's clock is ahead of ours, in seconds: at least `low`, at most `high`."""

    low: float
    high: float


# Awaited by `book` when all is ready and nothing is left but to send. Returns at the instant.
Fire = Callable[[], Awaitable[None]]


class Adapter(Protocol):
    """Books at one provider. No method raises for what the provider does; all stay within the time they are given.

    `honours_idempotency_key` says that an order which is sent twice under its key is booked once.
    """

    honours_idempotency_key: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The adapter for a provider of these settings. Raises ValueError, in an admin's words, if they are wrong."""
        ...

    async def clock(self) -> Clock | None:
        """The provider's clock against ours; None if it shows none."""
        ...

    async def check_credentials(self, credentials: Credentials) -> Answer:
        """Whether they let the customer in: valid, bad_credentials, or unavailable and the like."""
        ...

    async def book(self, order: Order, credentials: Credentials, fire: Fire) -> Answer:
        """Get everything ready, await `fire()`, send one request, and say what came of it."""
        ...

    async def lookup(self, order: Order, credentials: Credentials) -> Answer:
        """What became of an order that was sent: booked, absent, or unknown if the provider cannot tell."""
        ...

    async def close(self) -> None:
        """Let go of connections and browsers."""
        ...
