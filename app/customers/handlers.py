"""The job that erases a customer with whom nothing happened for CUSTOMERS_KEEP_DAYS."""

from datetime import timedelta
from uuid import UUID

from app.customers import queries
from app.database import Database
from app.handlers import Handler, Job, Ok, Outcome, Skip
from app.security import Actor
from app.settings import Settings

ACTOR = Actor("system", "erase_idle_customer")
# Seconds: of a customer with a long past it takes as long as a statement may.
LIMIT = 7.0
NEEDS = 2.0


def erase_idle_customer(db: Database, settings: Settings) -> Handler:
    """Who does the jobs that `enqueue_idle_customers` leaves."""

    async def run(job: Job) -> Outcome:
        if settings.customers_keep_days is None:
            return Skip("customers are kept")
        keep = timedelta(days=settings.customers_keep_days)
        is_erased = await queries.erase_idle_customer(db, ACTOR, UUID(job.payload["customer_id"]), keep)
        return Ok() if is_erased else Skip("something happened, or they are under a legal hold")

    return Handler("erase_idle_customer", run, queue="privacy", limit=LIMIT, needs=NEEDS, pauses_queue=False)
