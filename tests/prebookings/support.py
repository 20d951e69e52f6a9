"""A gym outside, played by the simulator, at which customers of ours have something booked when booking opens."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import httpx2
from pydantic import SecretStr

from app.database import Database
from app.encryption import EncryptionKeys, new_encryption_key
from app.handlers import Handler
from app.jobs.runner import Runner
from app.main import handlers_of
from app.providers.vault import seal
from app.settings import Settings
from tests.adapters.support import PASSWORD, USER, Simulator
from tests.factories import ACTOR
from tests.jobs.support import do_all, hurry, runner_of
from tests.sql.support import call_json, call_row

KEY = new_encryption_key()
GYM = "gym"
QUEUE = f"provider:{GYM}"
YOGA = {"class": "yoga", "date": "2030-05-01", "time": "18:00"}
BOXING = {"class": "boxing", "date": "2030-05-01", "time": "19:00"}
SPINNING = {"class": "spinning", "date": "2030-05-01", "time": "20:00"}


def with_key(settings: Settings) -> Settings:
    """The settings of an installation that has a key for credentials."""
    return settings.model_copy(update={"encryption_keys": SecretStr(KEY)})


def now() -> datetime:
    """The time by our clock."""
    return datetime.now(UTC)


class Gym(NamedTuple):
    """The provider, and what asks it."""

    conn: asyncpg.Connection
    database: Database
    settings: Settings
    simulator: Simulator

    async def open(self, *, stagger_ms: int = 0, **overrides: Any) -> None:
        """Make it known. Settings beside the simulator's come as keywords; None takes one away."""
        told = {**self.simulator.settings, **overrides}
        await self.put(json.dumps({name: value for name, value in told.items() if value is not None}), stagger_ms)

    async def put(self, settings: str, stagger_ms: int = 0, **overrides: Any) -> None:
        """Make it known with these settings."""
        arguments = {"p_adapter": "http_json", "p_settings": settings, "p_timezone": "UTC", "p_stagger_ms": stagger_ms}
        await call_json(self.conn, "put_provider", p_actor=ACTOR, p_name=GYM, **(arguments | overrides))

    async def forget_keys(self, *, latency: float = 0.0, **overrides: Any) -> None:
        """Let it book again what comes again, though it knows the key, and let us know."""
        booking = {**self.simulator.settings["booking"], "headers": {"Idempotency-Key": "{idempotency_key}"}}
        del booking["idempotency_header"]
        await self.open(**{"booking": booking, **overrides})
        await self.simulator.behave(honours_idempotency_key=False, latency=latency)

    async def let_in(self, ref: str = "ann", **fields: str) -> None:
        """Store what the customer logs in with; nobody checks it."""
        sealed = seal(EncryptionKeys(KEY), GYM, ref, fields or {"user": USER, "password": PASSWORD})
        await call_json(
            self.conn,
            "put_credentials",
            p_actor=ACTOR,
            p_provider=GYM,
            p_customer_ref=ref,
            p_key_id=sealed.key_id,
            p_nonce=sealed.nonce,
            p_ciphertext=sealed.ciphertext,
        )
        await self.conn.execute(
            """UPDATE jobs SET status = 'cancelled', processed_at = now()
            WHERE job_type = 'check_credentials' AND status = 'pending'"""
        )

    async def prebook(self, *targets: dict[str, str], ref: str = "ann", opens_at: datetime | None = None) -> UUID:
        """What the customer wants, best first; booking is open already unless the test says otherwise."""
        row = await call_row(
            self.conn,
            "create_prebooking",
            p_actor=ACTOR,
            p_resource_id=None,
            p_provider=GYM,
            p_targets=json.dumps(targets or (YOGA,)),
            p_customer=json.dumps({"ref": ref}),
            p_opens_at=opens_at or now() - timedelta(seconds=1),
        )
        return UUID(str(row["prebooking_id"]))

    async def prebook_many(self, count: int, opens_at: datetime) -> list[UUID]:
        """So many customers who want places of their own, in the order of asking."""
        refs = [f"c{n}" for n in range(count)]
        for ref in refs:
            await self.let_in(ref)
        return [await self.prebook(YOGA | {"class": ref}, ref=ref, opens_at=opens_at) for ref in refs]

    @property
    def handlers(self) -> Sequence[Handler]:
        """Who does the jobs of an installation."""
        return handlers_of(self.database, self.settings)

    async def work(self) -> Counter[str]:
        """Do all that is due; answers what became of the jobs."""
        runner = self.runner()
        await runner.read_queues()
        await do_all(runner)
        return runner.tally

    def runner(self) -> Runner:
        """One that does the jobs of an installation, and has begun none."""
        return runner_of(self.database, *self.handlers, concurrency=400)

    async def try_again(self, times: int = 1) -> None:
        """Do what waits for its next try, without the wait."""
        for _ in range(times):
            await self.resume()
            await hurry(self.conn)
            await self.work()

    async def resume(self) -> None:
        """Let the queue's pause be over."""
        await self.conn.execute("UPDATE job_queues SET resume_at = now() WHERE resume_at > now()")

    async def read(self, prebooking_id: UUID) -> dict[str, Any]:
        """The prebooking as the API tells it."""
        told: dict[str, Any] = await call_json(self.conn, "get_prebooking", p_prebooking_id=prebooking_id)
        return told

    async def end_of(self, prebooking_id: UUID) -> tuple[str, str | None, bool]:
        """Its status, its reason, and whether a person has to look."""
        told = await self.read(prebooking_id)
        return told["status"], told["reason"], told["needs_attention"]

    async def findings(self, prebooking_id: UUID) -> list[str | None]:
        """What came of each attempt."""
        return [attempt["finding"] for attempt in (await self.read(prebooking_id))["attempts"]]

    async def statuses(self) -> dict[str, int]:
        """How many prebookings are in each status."""
        rows = await self.conn.fetch("SELECT status, count(*) FROM prebookings GROUP BY status")
        return {row["status"]: row["count"] for row in rows}

    async def booked(self) -> list[str]:
        """The classes that the gym has places taken in."""
        return sorted(made["class"] for made in await self.simulator.bookings())

    async def asked(self) -> list[dict[str, Any]]:
        """The booking requests that came there."""
        return await self.simulator.requests("booking")

    async def book(self, prebooking_id: UUID) -> None:
        """Do there, at last, what a request asked for that we have given up waiting for."""
        async with httpx2.AsyncClient(base_url=self.simulator.url) as client:
            token = (await client.post("/login", json={"user": USER, "password": PASSWORD})).json()["token"]
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{prebooking_id}:1"}
            (await client.post("/bookings", json=YOGA, headers=headers)).raise_for_status()

    async def job(self) -> asyncpg.Record:
        """The one job that executes a prebooking."""
        (row,) = await self.conn.fetch("SELECT * FROM jobs WHERE job_type = 'execute_prebooking'")
        return row

    async def delay(self) -> timedelta:
        """How long the job has to wait from now."""
        query = "SELECT run_at - now() FROM jobs WHERE job_type = 'execute_prebooking'"
        delay: timedelta = await self.conn.fetchval(query)
        return delay
