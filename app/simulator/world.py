"""What the simulator is told, what it remembers, and how it books."""

import random
import secrets
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from app.schemas import Input

Endpoint = Literal["status", "login", "booking", "lookup"]


class Conduct(Input):
    """How it behaves. In seconds; `opens_at` is since 1970, by its own clock, which is `clock_ahead` of ours."""

    accounts: dict[str, str] = Field({"ana": "correct horse battery"}, description="Passwords by user names.")
    capacity: Annotated[int, Field(ge=0)] = 10
    opens_at: float | None = None
    clock_ahead: float = 0.0
    latency: Annotated[float, Field(ge=0, le=60)] = 0.0
    failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    seed: int = 1
    requests_per_second: Annotated[int, Field(ge=1)] | None = None
    honours_idempotency_key: bool = True


class Fault(Input):
    """A hostile answer, for the next so many requests to an endpoint; with `after`, once what was asked for is done."""

    kind: Literal[
        "hang", "reset", "error", "too_many", "too_many_until", "full", "expired", "html", "huge", "redirect", "drip"
    ]
    on: Endpoint = "booking"
    times: Annotated[int, Field(ge=1)] = 1
    after: bool = False
    location: str = "/"


class Reply(NamedTuple):
    """An answer: its status, its JSON, and headers beside the usual."""

    status: int
    document: dict[str, Any]
    headers: Mapping[str, str] = MappingProxyType({})


class World:
    """One provider's accounts, classes and bookings, in memory."""

    def __init__(self, conduct: Conduct) -> None:
        self.requests: list[dict[str, Any]] = []
        self.bookings: list[dict[str, Any]] = []
        self.faults: list[Fault] = []
        self._sessions: dict[str, str] = {}
        self._recent: deque[float] = deque()
        self.conduct = conduct
        self._chance = random.Random(conduct.seed)  # noqa: S311 - a play

    @property
    def now(self) -> float:
        """The time by its own clock."""
        return time.time() + self.conduct.clock_ahead

    def behave(self, conduct: Conduct) -> None:
        """Behave so from now on."""
        self.conduct = conduct
        self._chance = random.Random(conduct.seed)  # noqa: S311 - a play

    def next_fault(self, endpoint: Endpoint) -> Fault | None:
        """The fault to play for this request."""
        for position, fault in enumerate(self.faults):
            if fault.on == endpoint:
                self.faults[position : position + 1] = (
                    [fault.model_copy(update={"times": fault.times - 1})] if fault.times > 1 else []
                )
                return fault
        return None

    def account(self, session: str | None) -> str | None:
        """Who holds this token or cookie."""
        return self._sessions.get(session or "")

    def is_too_much(self) -> bool:
        """Whether this request is one too many within a second."""
        limit = self.conduct.requests_per_second
        moment = time.monotonic()
        while self._recent and self._recent[0] <= moment - 1:
            self._recent.popleft()
        if limit is None or len(self._recent) < limit:
            self._recent.append(moment)
            return False
        return True

    def log_in(self, asked: dict[str, Any]) -> Reply:
        """Let a customer in: a token, which is a cookie too."""
        user = asked.get("user")
        if not isinstance(user, str) or self.conduct.accounts.get(user) != asked.get("password"):
            return Reply(401, {"error": "bad_credentials", "message": "User or password is wrong."})
        token = secrets.token_urlsafe(24)
        self._sessions[token] = user
        cookie = f"session={token}; Path=/; HttpOnly; SameSite=Lax"
        return Reply(200, {"token": token}, {"Set-Cookie": cookie})

    def book(self, account: str | None, key: str | None, asked: dict[str, Any]) -> Reply:
        """Book a place in a class at a time."""
        if account is None:
            return Reply(401, {"error": "bad_credentials", "message": "Log in first."})
        if self.conduct.honours_idempotency_key and (made := self._made(account, key)):
            return Reply(200, made)
        place = {name: asked.get(name) for name in ("class", "date", "time")}
        if refusal := self._refusal(place):
            return refusal
        booking = place | {"id": f"SIM-{len(self.bookings) + 1:04}", "status": "confirmed"}
        booking |= {"account": account, "key": key}
        self.bookings.append(booking)
        return Reply(201, booking)

    def look_up(self, account: str | None, key: str | None) -> Reply:
        """The booking that an account made under a key."""
        if account is None:
            return Reply(401, {"error": "bad_credentials", "message": "Log in first."})
        made = self._made(account, key)
        return Reply(200, made) if made else Reply(404, {"error": "no_such_booking"})

    def _refusal(self, place: dict[str, Any]) -> Reply | None:
        if not all(isinstance(part, str) and part for part in place.values()):
            return Reply(422, {"error": "invalid", "message": "A booking needs class, date and time."})
        if self.conduct.opens_at is not None and self.now < self.conduct.opens_at:
            return Reply(409, {"error": "not_open_yet", "message": "Booking has not opened."})
        if sum(made.items() >= place.items() for made in self.bookings) >= self.conduct.capacity:
            return Reply(409, {"error": "full", "message": "This class is full."})
        if self._chance.random() < self.conduct.failure_rate:
            return Reply(503, {"error": "try_again", "message": "Nothing was booked. Try again."})
        return None

    def _made(self, account: str, key: str | None) -> dict[str, Any] | None:
        under = (made for made in self.bookings if key and (made["account"], made["key"]) == (account, key))
        return next(under, None)
