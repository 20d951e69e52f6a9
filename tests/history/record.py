"""What clients asked for and were told: the history that the checker reads."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import httpx2

Kind = Literal["book", "cancel", "reschedule"]
SUCCESS = {200, 201}


class Told(NamedTuple):
    """One answer; status 0 where there was none."""

    status: int
    body: dict[str, Any]

    @property
    def is_unknown(self) -> bool:
        """Whether the request may have been carried out or not."""
        return self.status == 0 or self.body.get("code") in {"outcome_unknown", "internal"}

    @property
    def is_final(self) -> bool:
        """Whether asking again would tell nothing new."""
        return self.status in SUCCESS or not (self.is_unknown or self.body.get("retryable"))


@dataclass
class Intent:
    """One thing that a client wanted once, under one key, and all that it was told while it asked."""

    kind: Kind
    slot_id: str | None = None
    booking: dict[str, Any] | None = None
    """The booking as the client knew it, for a change."""
    key: str = field(default_factory=lambda: uuid4().hex)
    told: list[Told] = field(default_factory=list)

    @property
    def acknowledged(self) -> list[dict[str, Any]]:
        """The booking, as each answer of success had it."""
        return [told.body for told in self.told if told.status in SUCCESS]

    @property
    def is_refused(self) -> bool:
        """Whether every answer was a definite no."""
        return bool(self.told) and all(told.status >= 400 and not told.is_unknown for told in self.told)

    async def ask(self, client: httpx2.AsyncClient) -> Told:
        """Ask once, or once more, and write down what was told."""
        # each try says whose it is, so that the audit trail tells what came of it
        headers = {"Idempotency-Key": self.key, "X-Request-ID": f"{self.key}.{len(self.told)}"}
        try:
            if self.booking is None:
                body = {"slot_id": self.slot_id, "customer": {"ref": self.key}}
                answer = await client.post("/v1/bookings", json=body, headers=headers)
            else:
                path = f"/v1/bookings/{self.booking['id']}/{self.kind}"
                headers["If-Match"] = f'"{self.booking["version"]}"'
                answer = await client.post(
                    path, json={"slot_id": self.slot_id} if self.slot_id else None, headers=headers
                )
            told = Told(answer.status_code, answer.json())
        except (httpx2.TransportError, json.JSONDecodeError):
            told = Told(0, {})
        self.told.append(told)
        return told


class Settlement(NamedTuple):
    """What somebody who did a job was told when it said so."""

    job_id: str
    lease_token: int
    answer: str


@dataclass
class History:
    """All intents, and who was given which job under which token, then told what of it, in the order of the answers."""

    intents: list[Intent] = field(default_factory=list)
    jobs: list[Settlement] = field(default_factory=list)
    """A claim is one with the answer `claimed`."""

    def intend(self, kind: Kind, slot_id: object = None, booking: dict[str, Any] | None = None) -> Intent:
        """Begin to want something."""
        intent = Intent(kind, str(slot_id) if slot_id else None, booking)
        self.intents.append(intent)
        return intent

    def tokens(self) -> dict[str, list[Settlement]]:
        """What happened to each job, in order."""
        of: dict[str, list[Settlement]] = defaultdict(list)
        for each in self.jobs:
            of[each.job_id].append(each)
        return of
