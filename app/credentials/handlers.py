"""The job that asks a provider whether stored credentials let their customer in."""

from datetime import timedelta
from uuid import UUID

from app.adapters.adapter import Credentials
from app.adapters.registry import find_adapter
from app.credentials import queries
from app.credentials.queries import Stored
from app.database import Database
from app.encryption import AlteredError, MissingKeyError
from app.handlers import Handler, Job, Ok, Outcome, Permanent, Retry, Skip
from app.providers.vault import UNREADABLE, unseal
from app.security import Actor
from app.settings import Settings

ACTOR = Actor("system", "check_credentials")
MAX_DETAIL = 500
STATUSES = {"valid": "valid", "bad_credentials": "invalid"}


def check_credentials(db: Database, settings: Settings) -> Handler:
    """Who does the jobs that `put_credentials` leaves in the queues of providers."""

    async def run(job: Job) -> Outcome:
        stored = await queries.stored_credentials(db, UUID(job.payload["credentials_id"]))
        if stored is None:
            return Skip("the credentials are gone")
        if not stored.is_enabled:
            return Skip("the provider is disabled")
        keys = settings.keys_of_credentials
        if keys is None:
            return Retry("ENCRYPTION_KEYS is not set", is_ours=True)
        try:
            credentials = unseal(keys, stored.provider, stored.customer_ref, stored.sealed)
        except MissingKeyError as error:
            # another process has it already
            return Retry(f"ENCRYPTION_KEYS does not have the key {error}", is_ours=True)
        except AlteredError:
            await queries.record_credentials_check(db, ACTOR, stored, "invalid", UNREADABLE)
            return Permanent("the stored ciphertext is not this customer's at this provider")
        return await _check(db, stored, credentials)

    return Handler("check_credentials", run, queue="provider:*")


async def _check(db: Database, stored: Stored, credentials: Credentials) -> Outcome:
    try:
        adapter = find_adapter(stored.adapter).of(stored.settings)
    except ValueError:
        return Permanent(f"the adapter {stored.adapter} is not installed, or does not take the provider's settings")
    try:
        answer = await adapter.check_credentials(credentials)
    finally:
        await adapter.close()
    detail = credentials.hide(answer.detail)[:MAX_DETAIL]
    status = STATUSES.get(answer.finding)
    if status is not None:
        is_newest = await queries.record_credentials_check(db, ACTOR, stored, status, detail)
        return Ok({"status": status}) if is_newest else Skip("newer credentials are stored")
    if answer.finding == "refused":
        return Permanent(f"refused: {detail}")
    after = timedelta(seconds=answer.retry_after) if answer.retry_after is not None else None
    return Retry(f"{answer.finding}: {detail}", after)
