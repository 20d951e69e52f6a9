"""What must happen later, and who did it."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.tables.columns import ID, WHEN, metadata, timestamps

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("dedupe_key", sa.Text, nullable=False),
    sa.Column("booking_id", ID),
    sa.Column("payload", JSONB, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("scheduled_at", WHEN, nullable=False),
    sa.Column("run_at", WHEN, nullable=False),
    sa.Column("processed_at", WHEN),
    *timestamps(),
    # absent: the database does it by itself, many at a time
    sa.Column("queue", sa.Text),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("lease_token", sa.BigInteger, nullable=False),
    sa.Column("leased_by", sa.Text),
    sa.Column("leased_until", WHEN),
    sa.Column("attempted_at", WHEN),
    sa.Column("cancel_requested_at", WHEN),
    sa.Column("error_message", sa.Text),
    sa.Column("result", JSONB),
    sa.Index("jobs_pending_key", "dedupe_key", "job_type", unique=True, postgresql_where=sa.text("status = 'pending'")),
    sa.Index("jobs_due_idx", "job_type", "run_at", postgresql_where=sa.text("status = 'pending' AND queue IS NULL")),
    sa.Index(
        "jobs_claim_idx",
        *("queue", "priority", "run_at", "seq"),
        postgresql_where=sa.text("status = 'pending' AND queue IS NOT NULL"),
    ),
    sa.Index("jobs_running_idx", "queue", "id", postgresql_where=sa.text("status = 'processing'")),
    sa.Index("jobs_processed_at_idx", "processed_at", postgresql_where=sa.text("processed_at IS NOT NULL")),
)

job_attempts = sa.Table(
    "job_attempts",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("lease_token", sa.BigInteger, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("instance_id", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("error_message", sa.Text),
    sa.Column("started_at", WHEN, nullable=False),
    sa.Column("ended_at", WHEN, nullable=False),
)

job_queues = sa.Table(
    "job_queues",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("max_running", sa.Integer),
    sa.Column("stagger_ms", sa.Integer, nullable=False),
    sa.Column("paused_at", WHEN),
    sa.Column("resume_at", WHEN),
    sa.Column("pause_reason", sa.Text),
    *timestamps(),
)

job_runs = sa.Table(
    "job_runs",
    metadata,
    sa.Column("instance_id", sa.Text, primary_key=True),
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("report", JSONB, nullable=False),
    sa.Column("started_at", WHEN, nullable=False),
    sa.Column("seen_at", WHEN, nullable=False),
    sa.Column("ended_at", WHEN),
    sa.Index("job_runs_seen_at_idx", "seen_at"),
)
