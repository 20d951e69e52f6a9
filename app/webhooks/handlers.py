"""The job that delivers an event to a receiver."""

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from uuid import UUID

import structlog

from app.database import Database
from app.encryption import AlteredError, EncryptionKeys, MissingKeyError
from app.handlers import Handler, Job, Ok, Outcome, Permanent, Retry, Skip, Snooze
from app.security import Actor
from app.settings import Settings
from app.webhooks import queries
from app.webhooks.doors import Door
from app.webhooks.queries import Request
from app.webhooks.sending import TIMEOUT, Answer, Sender
from app.webhooks.signing import signed_headers
from app.webhooks.vault import unseal

ACTOR = Actor("system", "deliver_webhook")
# How long to wait after each attempt that fails, less or more by up to a fifth at random: 75 hours in all.
WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
JITTER = 0.2
# What a receiver may ask for itself by Retry-After.
LONGEST_WAIT = timedelta(hours=24)
# Seconds, from and to, until one that found no room comes again: at a receiver that works, and at one that fails.
SOON, LATER = (1.0, 3.0), (5.0, 15.0)
WITHOUT_KEYS = timedelta(minutes=1)
UNREADABLE = "a stored secret cannot be read any more: rotate it"

logger = structlog.get_logger(__name__)


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def deliver_webhook(
    db: Database, settings: Settings, sender: Sender | None = None, clock: Callable[[], datetime] = utc_now
) -> Handler:
    """Who does the jobs that `enqueue_delivery` leaves in the queue `webhooks`."""
    sender = sender or Sender(settings.webhook_allowed_networks)
    doors: defaultdict[str, Door] = defaultdict(Door)

    async def run(job: Job) -> Outcome:
        door = doors[job.payload["endpoint_id"]]
        entered = await door.enter()
        if entered is None:
            seconds = random.uniform(*(LATER if door.is_failing else SOON))  # noqa: S311 - no secret
            return Snooze(clock() + timedelta(seconds=seconds))
        outcome: Outcome | None = None
        try:
            outcome = await _deliver(db, settings.keys_of_credentials, sender, clock, job)
        finally:
            door.leave(entered, is_failing=outcome is None or isinstance(outcome, Retry | Permanent))
        return outcome

    # one dead receiver says nothing of the others; what is begun has the time it may take
    return Handler("deliver_webhook", run, "webhooks", limit=TIMEOUT + 3, needs=TIMEOUT + 0.5, pauses_queue=False)


async def _deliver(
    db: Database, keys: EncryptionKeys | None, sender: Sender, clock: Callable[[], datetime], job: Job
) -> Outcome:
    delivery_id, endpoint_id = UUID(job.payload["delivery_id"]), UUID(job.payload["endpoint_id"])
    request = await queries.delivery_request(db, delivery_id, clock())
    if request is None:
        return Skip("it is delivered, or the endpoint is disabled")
    try:
        answer = await _send(keys, sender, clock(), endpoint_id, request)
    except MissingKeyError as error:
        # our own lack, and no attempt: another process has the key already, or this one will
        logger.warning("a webhook waits for its key", endpoint_id=str(endpoint_id), key_id=str(error))
        return Snooze(clock() + WITHOUT_KEYS)
    await queries.end_delivery(db, ACTOR, delivery_id, answer, clock())
    if answer.error is None:
        return Ok({"status": answer.status})
    if answer.status == HTTPStatus.GONE:
        return Permanent(answer.error)
    return Retry(answer.error, wait_after(job.attempt, answer.retry_after))


async def _send(
    keys: EncryptionKeys | None, sender: Sender, now: datetime, endpoint_id: UUID, request: Request
) -> Answer:
    """What the receiver answers. Raises MissingKeyError."""
    if keys is None:
        msg = "(ENCRYPTION_KEYS is not set)"
        raise MissingKeyError(msg)
    try:
        secrets = [unseal(keys, endpoint_id, sealed) for sealed in request.secrets]
    except AlteredError:
        return Answer(UNREADABLE, 0)
    headers = signed_headers(secrets, request.event_id, int(now.timestamp()), request.body)
    return await sender.post(request.url, headers, request.body)


def wait_after(attempt: int, retry_after: float | None) -> timedelta:
    """How long to wait after that many attempts; longer where the receiver asked for it, within bounds."""
    wait = WAITS[min(attempt, len(WAITS)) - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
    return max(wait, min(timedelta(seconds=retry_after or 0), LONGEST_WAIT))
