"""Jobs, queues and runs as clients see them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from app.schemas import Input, MaxRunning, Name, Page, StaggerMs

JobStatus = Literal["pending", "processing", "processed", "skipped", "cancelled", "discarded"]


class RunReport(BaseModel):
    """What one run did, and what it left."""

    instance_id: str = Field(description="This run's own id, in the logs too.")
    claimed: int = 0
    processed: int = 0
    retried: int = 0
    skipped: int = 0
    discarded: int = 0
    released: int = 0
    rescued: int = 0
    cancelled: int = 0
    stale: int = Field(0, description="Jobs that somebody else had by the time they were done here.")
    failed_sweeps: int = Field(0, description="Sweeps that the database refused. The log says which, and why.")
    remaining_due: int | None = Field(description="Jobs still due when the run ended; null if counting took too long.")
    oldest_due_age_ms: int | None = Field(description="How long the oldest of them has waited.")
    elapsed_ms: int
    budget_exhausted: bool = Field(description="Whether the run ended for lack of time, not of work.")


class Heartbeat(BaseModel):
    """What is due is being done."""

    status: str = "ok"
    due: int
    oldest_due_age_ms: int
    last_run_age_ms: int = Field(description="How long ago somebody last came to do what is due.")


class JobFilters(BaseModel):
    """Which jobs to list: those that pass every given filter."""

    status: JobStatus | None = None
    job_type: Name | None = None
    queue: Name | None = None
    booking_id: UUID | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Job(BaseModel):
    """What must happen later. Its payload is not shown."""

    id: UUID
    job_type: str
    queue: str | None = Field(description="Null for what the database does by itself.")
    dedupe_key: str = Field(description="At most one job of a type is pending under one key.")
    booking_id: UUID | None
    status: JobStatus
    priority: int = Field(description="0 is first, 3 is last.")
    scheduled_at: datetime = Field(description="When it was to happen; retries do not move it.")
    run_at: datetime = Field(description="When it is tried next.")
    attempt: int
    max_attempts: int
    leased_by: str | None = Field(description="The run or worker that has it.")
    leased_until: datetime | None
    cancel_requested_at: datetime | None
    error_message: str | None
    result: Any
    processed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class JobAttempt(BaseModel):
    """One time somebody had the job, and what came of it."""

    attempt: int
    instance_id: str
    outcome: Literal["processed", "skipped", "failed", "permanent", "snoozed", "released", "budget", "lease_expired"]
    error_message: str | None
    started_at: datetime
    ended_at: datetime


class JobDetail(Job):
    """A job with its attempts, oldest first."""

    attempts: list[JobAttempt]


class JobPage(Page):
    """One page of jobs, in order of creation."""

    items: list[Job]


class QueueLimits(Input):
    """How much of a queue may run at once, and how far apart its jobs start."""

    max_running: MaxRunning | None = Field(
        None, description="The most jobs that may run at once, over all runs and workers."
    )
    stagger_ms: StaggerMs = Field(0, description="The least time between two starts within one run or worker.")


class QueuePause(Input):
    """For how long to leave a queue alone, and why."""

    seconds: Annotated[int, Field(strict=True, ge=1, le=31_536_000)] | None = Field(
        None, description="Left out: until it is resumed."
    )
    reason: Name | None = None


class Queue(BaseModel):
    """A queue of jobs."""

    name: str
    max_running: int | None
    stagger_ms: int
    paused: bool
    resume_at: datetime | None
    pause_reason: str | None
    due: int
    running: int


class JobCount(BaseModel):
    """How many jobs of a type are in that status."""

    job_type: str
    status: JobStatus
    count: int


class Lateness(BaseModel):
    """Milliseconds from when jobs were to happen until they did: first attempts of the last hour."""

    p50: int | None
    p95: int | None
    p99: int | None
    jobs: int


class Caller(BaseModel):
    """Who comes to do what is due."""

    caller: str = Field(description="`cron`, `worker`, `cli`, `pg_cron`; or `backfill`, an hourly part of the others.")
    last_seen_at: datetime
    runs: int = Field(description="In the last three days.")
    open: int = Field(description="Not ended yet, or ended without a word.")


class JobStats(BaseModel):
    """How the jobs stand."""

    counts: list[JobCount]
    due: int
    oldest_due_age_ms: int
    stuck: int = Field(description="Running longer than leased: their holder died. The next run rescues them.")
    lateness_ms: Lateness
    queues: list[Queue]
    callers: list[Caller]
