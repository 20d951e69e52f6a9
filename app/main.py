"""The application: routers, error handlers, and what lives as long as it does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from app import health
from app.admission import PER_CONNECTION, Admission, Places, Turnstile
from app.api_keys import routes as api_keys
from app.audit import routes as audit
from app.auto_syncs import routes as auto_syncs
from app.body_limit import BodyLimit
from app.bookings import routes as bookings
from app.calendars import routes as calendars
from app.credentials import routes as credentials
from app.credentials.handlers import check_credentials
from app.crews import routes as crews
from app.customers import routes as customers
from app.customers.handlers import erase_idle_customer
from app.database import Database, open_database
from app.error_handlers import LastResort, install_error_handlers
from app.events import routes as events
from app.events.hub import open_hub
from app.garbage import spare_what_stays
from app.groups import routes as groups
from app.handlers import Handler
from app.invariants import routes as invariants
from app.jobs import routes as jobs
from app.jobs.worker import working
from app.log import configure_logging
from app.messages import routes as messages
from app.messages.handlers import send_message
from app.openapi import describe, include
from app.payments import routes as payments
from app.prebookings import routes as prebookings
from app.prebookings.handlers import execute_prebooking, run_openings
from app.providers import routes as providers
from app.rate_limits import Failures, RateLimits
from app.request_id import RequestId
from app.resources import routes as resources
from app.response_headers import ResponseHeaders, data_headers
from app.schedules import routes as schedules
from app.security import KeyRing, recording_uses
from app.settings import Settings
from app.slots import routes as slots
from app.stopping import when_stopping
from app.tokens import CustomerTokens
from app.waitlist import routes as waitlist
from app.waker import Waker
from app.webhooks import routes as webhooks
from app.webhooks.handlers import deliver_webhook

DESCRIPTION = """\
A headless booking backend. No slot is ever oversold, whatever writes to the database; every change is on record.

* Writes take a bearer token: `holdfast keys create --scope frontend` (or `admin`). Reading what is free needs none.
* Every booking has a `version`. Changing one takes `If-Match` with the ETag you read: nobody overwrites another.
* Send an `Idempotency-Key` with a booking and repeat the request freely: it happens once.
* `RateLimit` says how many requests are left to you, where there is a limit; 429 that none is, and `Retry-After`.
* Whatever is not a success is `application/problem+json` with a stable `code`.
"""

# what a listed page may read beside the body
EXPOSED_HEADERS = [
    "ETag",
    "Location",
    "Retry-After",
    "Idempotent-Replayed",
    "X-Request-ID",
    "RateLimit",
    "RateLimit-Policy",
]


def handlers_of(database: Database, settings: Settings) -> tuple[Handler, ...]:
    """Who does which jobs: a feature adds its own with one line."""
    return (
        run_openings(database),
        execute_prebooking(database, settings),
        check_credentials(database, settings),
        deliver_webhook(database, settings),
        send_message(database, settings),
        erase_idle_customer(database, settings),
    )


def create_app(settings: Settings, handlers: Sequence[Handler] | None = None) -> FastAPI:
    """The application for these settings, and for other handlers than its own where some are given.

    Its lifespan opens the database, and runs a worker if that is asked for.
    """
    configure_logging(settings.log_level)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_database(settings) as database:
            app.state.database = database
            app.state.keys = KeyRing(database)
            app.state.tokens = CustomerTokens(settings)
            app.state.waker = Waker(database)
            app.state.runs = set()
            app.state.handlers = handlers_of(database, settings) if handlers is None else handlers
            async with (
                recording_uses(app.state.keys),
                open_hub(database) as hub,
                working(database, settings, app.state.handlers) if settings.worker else nullcontext(),
            ):
                app.state.hub = hub
                with when_stopping(hub.close):
                    yield
            # a run whose caller hung up still needs the pool
            await asyncio.gather(*app.state.runs, return_exceptions=True)

    # FastAPI, with the scripts of /docs served from here instead of a public CDN
    app = FastAPIOffline(
        title="Holdfast",
        version="0.1.0",
        summary="A headless booking backend",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.rate_limits = RateLimits(settings)
    app.state.failures = Failures()
    features = (
        resources,
        schedules,
        slots,
        bookings,
        groups,
        waitlist,
        prebookings,
        crews,
        auto_syncs,
        payments,
        messages,
        calendars,
        providers,
        credentials,
        audit,
        customers,
        events,
        webhooks,
        api_keys,
        invariants,
        jobs,
        health,
    )
    for feature in features:
        include(app, feature.router)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    install_error_handlers(app)
    places = Places(settings.db_pool_size * PER_CONNECTION)
    app.add_middleware(Admission, places, settings.deadlines.request)
    app.add_middleware(BodyLimit)
    app.add_middleware(LastResort)
    app.add_middleware(RequestId)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(ResponseHeaders, behind_tls=settings.behind_tls)
    # around what FastAPI puts around all middleware, too
    app.build_middleware_stack = lambda: Turnstile(  # type: ignore[method-assign]
        FastAPI.build_middleware_stack(app), places, data_headers(behind_tls=settings.behind_tls)
    )
    return app


def app_from_environment() -> FastAPI:
    """What `uvicorn --factory app.main:app_from_environment` serves."""
    app = create_app(Settings())
    spare_what_stays()
    return app
