"""Whatever workers and people do to jobs, in whatever order: a job has one holder, and what is over stays over."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.databases import empty
from tests.factories import ACTOR
from tests.sql.jobs import (
    ATTEMPTS,
    LEASE,
    MINUTE,
    NOW,
    OUTCOMES,
    SECOND,
    claim,
    enqueue,
    extend,
    rescue,
    settle_tokens,
    settlement,
)
from tests.sql.support import TICK, call_json, refused

INSTANCES = 3
TERMINAL = ("processed", "skipped", "discarded", "cancelled")
MAY = {"cancel_job": ("pending", "processing"), "retry_job": ("skipped", "discarded", "cancelled")}
HOW_MUCH = settings(
    max_examples=20,
    stateful_step_count=50,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
LIMITS: list[tuple[str, dict[str, Any]]] = [
    ("resume_queue", {}),
    ("put_queue", {"p_max_running": None, "p_stagger_ms": 0}),
    ("put_queue", {"p_max_running": 3, "p_stagger_ms": 0}),
    ("pause_queue", {"p_pause_for": MINUTE}),
    ("pause_queue", {}),
]
RULES = ("enqueued", "claimed", "extended", "rescued", "cancel_job", "retry_job", "pause_queue", "put_queue")

Table = dict[UUID, dict[str, Any]]


class Ask(NamedTuple):
    """A job to enqueue; the keys are few, so that jobs meet under them."""

    job_type: str
    key: str | None
    seconds: int
    priority: int
    attempts: int


class Lease(NamedTuple):
    """A job that was given to somebody. It is never forgotten: anybody may come too late, with any outcome."""

    job_id: UUID
    token: int


def is_held(jobs: Table, lease: Lease) -> bool:
    """Whether that lease is the job's present one."""
    return (jobs[lease.job_id]["status"], jobs[lease.job_id]["lease_token"]) == ("processing", lease.token)


def as_record(lease: Lease) -> Any:
    """The lease as claim_jobs named it."""
    return {"id": lease.job_id, "lease_token": lease.token}


NUMBERS = st.integers(0, 9)
INSTANCE = st.integers(0, INSTANCES - 1)
OUTCOME = st.sampled_from(list(OUTCOMES))
ENDS = st.tuples(NUMBERS, OUTCOME)
JOBS = st.builds(
    Ask,
    st.sampled_from(["mail", "bill"]),
    st.sampled_from(["ann", "bob", None]),
    st.sampled_from([-1, 0, -90, 5]),
    st.integers(0, 3),
    st.integers(1, 3),
)


class JobWorld:
    """The jobs of one queue, the leases that were ever given, and a clock."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self.conn = conn
        self.told: Counter[str] = Counter()

    async def begin(self) -> None:
        """Everything anew."""
        await empty(self.conn)
        self.now = NOW
        self.leases: list[list[Lease]] = [[] for _ in range(INSTANCES)]
        self.jobs: Table = {}
        self.retried: UUID | None = None

    def tick(self) -> None:
        self.now += TICK

    async def table(self) -> Table:
        return {row["id"]: dict(row) for row in await self.conn.fetch("SELECT * FROM jobs ORDER BY seq")}

    async def attempts(self) -> dict[tuple[UUID, int], str]:
        rows = await self.conn.fetch(f"SELECT job_id, lease_token, outcome FROM {ATTEMPTS} a")
        return {(row["job_id"], row["lease_token"]): row["outcome"] for row in rows}

    async def enqueue(self, ask: Ask) -> None:
        self.tick()
        job_id = await enqueue(
            self.conn,
            ask.job_type,
            p_dedupe_key=ask.key,
            p_run_at=self.now + ask.seconds * SECOND,
            p_priority=ask.priority,
            p_max_attempts=ask.attempts,
            p_now=self.now,
        )
        assert (await self.table())[job_id]["status"] == "pending"
        self.told["enqueued"] += 1

    async def claim(self, instance: int, limit: int) -> None:
        self.tick()
        before, queue = await self.table(), await self.queue()
        rows = await claim(self.conn, limit, instance=str(instance), now=self.now)
        claimed = [Lease(row["id"], row["lease_token"]) for row in rows]

        assert all(lease not in leases for leases in self.leases for lease in claimed)
        due = [job for job in before.values() if job["status"] == "pending" and job["run_at"] <= self.now]
        room = queue["max_running"] - queue["running"] if queue["max_running"] else limit
        assert len(claimed) == (0 if queue["paused"] else max(0, min(limit, room, len(due))))
        assert {lease.job_id for lease in claimed} <= {job["id"] for job in due}
        self.leases[instance] += claimed
        self.told["claimed"] += len(claimed)

    async def queue(self) -> Any:
        return await call_json(self.conn, "queue_json", p_queue="default", p_now=self.now)

    async def settle_own(self, instance: int, ends: list[tuple[int, str]], has_follow_up: bool) -> None:
        """An instance settles some of what it ever had."""
        leases = self.leases[instance]
        await self.settle({leases[-1 - n % len(leases)]: outcome for n, outcome in ends if leases}, has_follow_up)

    async def settle_one(self, number: int, outcomes: list[str], has_follow_up: bool) -> None:
        """Everybody who ever had a job settles it, in one call."""
        given = [lease for leases in self.leases for lease in leases]
        # the more often it was given, the more there is to mistake
        jobs = [job_id for job_id, _ in Counter(lease.job_id for lease in given).most_common(4)]
        had = [lease for lease in given if lease.job_id == jobs[number % len(jobs)]]
        await self.settle({lease: outcomes[n % len(outcomes)] for n, lease in enumerate(had)}, has_follow_up)

    async def settle(self, batch: dict[Lease, str], has_follow_up: bool) -> None:
        self.tick()
        more = {"after": "1 minute", "follow_ups": [{"job_type": "next"}] * has_follow_up}
        jobs, attempts = await self.table(), await self.attempts()
        held = {lease: outcome for lease, outcome in batch.items() if is_held(jobs, lease)}
        told = await settle_tokens(self.conn, [settlement(as_record(e), o, **more) for e, o in batch.items()], self.now)

        assert {lease: answer != "stale" for lease, answer in told.items()} == {lease: lease in held for lease in batch}
        assert await self.attempts() == attempts | {(lease.job_id, lease.token): held[lease] for lease in held}
        after = await self.table()
        changed = {job_id for job_id in jobs if after[job_id] != jobs[job_id]}
        assert changed == {lease.job_id for lease in held}
        assert len(after) == len(jobs) + has_follow_up * list(held.values()).count("processed")
        for lease, outcome in batch.items():
            self.told[f"{outcome}: {'held' if lease in held else 'stale'}"] += 1
            if lease in held:
                self.is_settled(jobs[lease.job_id], after[lease.job_id], outcome)

    def is_settled(self, before: dict[str, Any], after: dict[str, Any], outcome: str) -> None:
        """The job is what that outcome makes of what it was."""
        if OUTCOMES.get(outcome, "pending") != "pending":
            wanted = {OUTCOMES[outcome]}
        elif before["cancel_requested_at"]:
            wanted = {"cancelled"}
        elif outcome in ("snoozed", "released"):
            wanted = {"pending", "cancelled"}
        else:
            # or superseded, by one that waits under its key
            wanted = {"discarded"} if before["attempt"] == before["max_attempts"] else {"pending", "cancelled"}
        assert after["status"] in wanted, (before, after, outcome)
        given_back = after["status"] == "pending" and outcome in ("snoozed", "released")
        assert after["attempt"] == before["attempt"] - given_back
        self.told[f"{outcome}: {after['status']}"] += 1

    async def extend(self, instance: int) -> None:
        """Renew all that the instance ever had."""
        self.tick()
        jobs, leases = await self.table(), self.leases[instance]
        held = await extend(self.conn, *map(as_record, leases), now=self.now)

        assert set(held) == {lease.job_id for lease in leases if is_held(jobs, lease)}
        for job_id, job in (await self.table()).items():
            renewed = {"leased_until": self.now + LEASE} if job_id in held else {}
            assert job == jobs[job_id] | renewed
        self.told["extended"] += len(held)

    async def rescue(self, limit: int) -> None:
        self.tick()
        jobs, attempts = await self.table(), await self.attempts()
        lost = {
            job_id: job["lease_token"]
            for job_id, job in jobs.items()
            if job["status"] == "processing" and job["leased_until"] < self.now
        }
        rescued = await rescue(self.conn, limit, now=self.now)

        assert rescued == min(limit, len(lost))
        new = (await self.attempts()).items() - attempts.items()
        assert len(new) == rescued
        after = await self.table()
        for (job_id, token), outcome in new:
            assert (lost[job_id], outcome) == (token, "lease_expired")
            self.is_settled(jobs[job_id], after[job_id], outcome)
        self.told["rescued"] += rescued

    async def person(self, function: str, number: int) -> None:
        """Cancel or retry a job: every other time one that may be, else any."""
        self.tick()
        jobs = await self.table()
        waiting = {(job["job_type"], job["dedupe_key"]) for job in jobs.values() if job["status"] == "pending"}
        may = [
            job_id
            for job_id, job in jobs.items()
            if job["status"] in MAY[function]
            and (function == "cancel_job" or (job["job_type"], job["dedupe_key"]) not in waiting)
        ]
        if chosen := (may if number % 2 else list(jobs)):
            job_id = chosen[-1 - number // 2 % len(chosen)]
            with nullcontext() if job_id in may else refused("SB007", "invalid_transition"):
                await call_json(self.conn, function, p_actor=ACTOR, p_job_id=job_id, p_now=self.now)
            assert (await self.table() == jobs) is (job_id not in may)
            self.retried = job_id if function == "retry_job" and job_id in may else None
            self.told[function] += job_id in may

    async def limit(self, number: int) -> None:
        """Limit, pause or resume the queue."""
        function, arguments = LIMITS[number]
        self.tick()
        await call_json(self.conn, function, p_actor=ACTOR, p_queue="default", p_now=self.now, **arguments)
        self.told[function] += 1

    async def look(self) -> None:
        """What must be true after every step, and since the one before."""
        jobs, recorded = await self.table(), await self.attempts()
        keys = Counter((job["job_type"], job["dedupe_key"]) for job in jobs.values() if job["status"] == "pending")
        assert max(keys.values(), default=0) <= 1
        for job_id, job in jobs.items():
            before = self.jobs.get(job_id, job)
            assert 0 <= job["attempt"] <= job["max_attempts"]
            assert job["lease_token"] >= before["lease_token"]
            if before["status"] in TERMINAL and job_id != self.retried:
                assert job == before
            # every token but the one that is held is on record, once
            tokens = [token for recorded_id, token in recorded if recorded_id == job_id]
            assert sorted(tokens) == list(range(1, job["lease_token"] + (job["status"] != "processing")))
            holders = [lease for leases in self.leases for lease in leases if lease.job_id == job_id]
            assert sum(is_held(jobs, lease) for lease in holders) == (job["status"] == "processing")
        self.jobs, self.retried = jobs, None


@seed(0)
class Play(RuleBasedStateMachine):
    """The rules of the game: a failure is shown as the shortest list of them."""

    world: ClassVar[JobWorld]
    runner: ClassVar[asyncio.Runner]

    def run(self, play: Coroutine[Any, Any, None]) -> None:
        self.runner.run(play)

    @initialize()
    def begin(self) -> None:
        self.run(self.world.begin())

    @rule(job=JOBS)
    def enqueue(self, job: Ask) -> None:
        self.run(self.world.enqueue(job))

    @rule(instance=INSTANCE, limit=st.integers(1, 4), job=JOBS)
    def claim(self, instance: int, limit: int, job: Ask) -> None:
        # with something to claim, more often than not
        self.run(self.world.enqueue(job))
        self.run(self.world.claim(instance, limit))

    @rule(instance=INSTANCE, ends=st.lists(ENDS, min_size=1, max_size=4), has_follow_up=st.booleans())
    def settle(self, instance: int, ends: list[tuple[int, str]], has_follow_up: bool) -> None:
        self.run(self.world.settle_own(instance, ends, has_follow_up))

    @rule(number=NUMBERS, outcomes=st.lists(OUTCOME, min_size=1, max_size=3), has_follow_up=st.booleans())
    def settle_one(self, number: int, outcomes: list[str], has_follow_up: bool) -> None:
        self.run(self.world.settle_one(number, outcomes, has_follow_up))

    @rule(instance=INSTANCE, end=ENDS, job=JOBS)
    def work(self, instance: int, end: tuple[int, str], job: Ask) -> None:
        self.run(self.world.enqueue(job))
        self.run(self.world.claim(instance, 2))
        self.run(self.world.settle_own(instance, [end], has_follow_up=False))

    @rule(instance=INSTANCE)
    def extend(self, instance: int) -> None:
        self.run(self.world.extend(instance))

    @rule(by=st.sampled_from([2 * LEASE, LEASE, SECOND, 5 * MINUTE]), limit=st.integers(0, 3))
    def later(self, by: timedelta, limit: int) -> None:
        self.world.now += by
        self.run(self.world.rescue(limit))

    @rule(instance=INSTANCE, heir=INSTANCE, job=JOBS)
    def lose(self, instance: int, heir: int, job: Ask) -> None:
        """Somebody claims and hangs, and what that was is somebody's, their own perhaps, before they come back."""
        self.run(self.world.enqueue(job))
        self.run(self.world.claim(instance, 2))
        self.later(2 * LEASE, 9)
        self.later(5 * MINUTE, 0)
        self.run(self.world.claim(heir, 4))

    @rule(function=st.sampled_from(["retry_job", "cancel_job"]), number=NUMBERS)
    def person(self, function: str, number: int) -> None:
        self.run(self.world.person(function, number))

    @rule(number=st.integers(0, 4))
    def queue(self, number: int) -> None:
        self.run(self.world.limit(number))

    @invariant()
    def hold(self) -> None:
        self.run(self.world.look())


def play(dsn: str) -> Counter[str]:
    """Play with the jobs again and again, anew each time; returns what was told."""
    with asyncio.Runner() as runner:
        conn = runner.run(asyncpg.connect(dsn, server_settings={"search_path": "holdfast"}))
        Play.runner, Play.world = runner, JobWorld(conn)
        try:
            run_state_machine_as_test(Play, settings=HOW_MUCH)
        finally:
            runner.run(conn.close())
    return Play.world.told


# a play takes a quarter of a minute; to find the shortest that fails, a few
@pytest.mark.timeout(400)
def test_a_job_has_one_holder_and_what_is_over_stays_over_after_every_step(dsn: str) -> None:
    told = play(dsn)

    # each rule got somewhere, and each outcome came in time and too late, or it proves nothing
    wanted = {f"{outcome}: {word}" for outcome in OUTCOMES for word in ("held", "stale", OUTCOMES[outcome])}
    wanted |= {"failed: discarded", "lease_expired: discarded", "lease_expired: cancelled"}
    assert (wanted | set(RULES)) - set(+told) == set()
