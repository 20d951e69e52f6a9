"""Who does the jobs of messages: what is about to be sent is on record before it is."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from app.database import Database
from app.handlers import Handler, Job, Outcome, Permanent, Retry, Settled, Skip, Snooze
from app.links import Links
from app.messages import queries
from app.messages.delivery import Delivery
from app.messages.mail import Mailer
from app.messages.queries import Plan
from app.messages.rendering import Rendered, Templates, facts_of, templates_of
from app.messages.sms import Texter, e164
from app.settings import Settings

# Until somebody who can send comes by: no attempt is lost on a process that cannot.
NOT_HERE = timedelta(minutes=1)
LIMIT = 7.0
NEEDS = 2.0

logger = structlog.get_logger(__name__)


def send_message(db: Database, settings: Settings) -> Handler:
    """Who sends what `make_messages` made."""
    templates = templates_of(settings.message_templates, settings.message_language)
    links = Links(settings)

    async def run(job: Job) -> Outcome:
        try:
            sender = Mailer(settings) if job.payload["channel"] == "email" else Texter(settings)
        except ValueError as error:
            logger.warning("cannot send", channel=job.payload["channel"], error=str(error))
            return Snooze(datetime.now(UTC) + NOT_HERE)
        message_id = UUID(job.payload["message_id"])
        plan = await queries.begin_message(db, job, message_id, settings.quiet_times)
        if plan.skip_reason is not None and not plan.is_unclear:
            return Skip(plan.skip_reason)
        if plan.wait_until is not None and plan.skip_reason is None:
            return Snooze(plan.wait_until)
        attempt = Attempt(db, job, message_id, plan, templates, links, settings.sms_region)
        return await (attempt.mail(sender) if isinstance(sender, Mailer) else attempt.text(sender))

    return Handler("send_message", run, queue="messages", limit=LIMIT, needs=NEEDS)


class Attempt:
    """One try at sending a message that is on record as about to be sent."""

    def __init__(
        self,
        db: Database,
        job: Job,
        message_id: UUID,
        plan: Plan,
        templates: Templates,
        links: Links,
        region: str | None,
    ) -> None:
        self._db = db
        self._end = partial(queries.end_message, db, job, message_id)
        self._message_id = message_id
        self._plan = plan
        self._templates = templates
        self._links = links
        self._region = region

    async def mail(self, mailer: Mailer) -> Outcome:
        """Send it by email. One that may have left goes out again under the same Message-ID, while it is true."""
        if self._plan.skip_reason is not None:
            return await self._skip(self._plan.skip_reason)
        body = self._plan.body
        rendered = self._rendered()
        try:
            message = mailer.compose(self._message_id, body["template"], body["customer"], rendered, self._facts())
        except ValueError:
            return await self._fail("invalid_address")
        return await self._settle(await mailer.send(message), rendered)

    async def text(self, texter: Texter) -> Outcome:
        """Send it by SMS. Of one that may have left, the provider is asked first."""
        number = e164(self._plan.body["customer"]["phone"] or "", self._region)
        rendered = self._rendered()
        if number is None:
            return await self._fail("invalid_address")
        if self._plan.is_unclear and self._plan.sending_at is not None:
            found = await texter.find(number, rendered.sms, self._plan.sending_at)
            if found is not None:
                return await self._settle(found, rendered)
        if self._plan.skip_reason is not None:
            return await self._skip(self._plan.skip_reason)
        if await queries.is_sms_opted_out(self._db, number):
            return await self._skip("opted_out")
        return await self._settle(await texter.send(number, rendered.sms), rendered)

    def _rendered(self) -> Rendered:
        body = self._plan.body
        return self._templates.render(body["template"], body["customer"]["language"], self._facts())

    def _facts(self) -> dict[str, Any]:
        participant_id = (self._plan.body["auto_sync"] or {}).get("participant_id")
        return facts_of(self._plan.body, self._links.to(UUID(participant_id)) if participant_id else None)

    async def _settle(self, delivery: Delivery, rendered: Rendered) -> Outcome:
        match delivery.finding:
            case "sent":
                await self._end("sent", provider_ref=delivery.provider_ref, language=rendered.language)
                return Settled()
            case "refused":
                return await self._fail("refused", delivery.detail)
            case "unavailable":
                await self._end("pending", detail=delivery.detail)
            case "unclear":
                await self._end("sending", detail=delivery.detail)
        return Retry(f"{delivery.finding}: {delivery.detail}", delivery.retry_after)

    async def _skip(self, reason: str) -> Outcome:
        await self._end("skipped", reason=reason)
        return Skip(reason)

    async def _fail(self, reason: str, detail: str | None = None) -> Outcome:
        await self._end("failed", reason=reason, detail=detail)
        return Permanent(f"{reason}: {detail}" if detail else reason)
