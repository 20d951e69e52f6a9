"""What the job engine needs: leases, retries, queues, and a record of every attempt and every run.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = {
    "job_attempts": """
        CREATE TABLE job_attempts (
          job_id uuid NOT NULL,
          lease_token bigint NOT NULL,
          attempt integer NOT NULL,
          instance_id text NOT NULL,
          outcome text NOT NULL,
          error_message text,
          started_at timestamptz NOT NULL,
          ended_at timestamptz NOT NULL,
          CONSTRAINT job_attempts_pkey PRIMARY KEY (job_id, lease_token),
          CONSTRAINT job_attempts_outcome_check CHECK (
            outcome IN ('processed', 'skipped', 'failed', 'permanent', 'snoozed', 'released', 'budget', 'lease_expired')
          )
        )
    """,
    "job_queues": """
        CREATE TABLE job_queues (
          name text CONSTRAINT job_queues_pkey PRIMARY KEY,
          max_running integer,
          stagger_ms integer NOT NULL DEFAULT 0,
          paused_at timestamptz,
          resume_at timestamptz,
          pause_reason text,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT job_queues_max_running_check CHECK (max_running > 0),
          CONSTRAINT job_queues_stagger_ms_check CHECK (stagger_ms BETWEEN 0 AND 60000),
          CONSTRAINT job_queues_pause_check CHECK (paused_at IS NOT NULL OR resume_at IS NULL AND pause_reason IS NULL)
        )
    """,
    "job_runs": """
        CREATE TABLE job_runs (
          instance_id text CONSTRAINT job_runs_pkey PRIMARY KEY,
          caller text NOT NULL,
          report jsonb NOT NULL DEFAULT '{}',
          started_at timestamptz NOT NULL,
          seen_at timestamptz NOT NULL,
          ended_at timestamptz
        )
    """,
}

INDEXES = [
    # each job in one of the two: those that the database does by itself, and those that are claimed
    """CREATE INDEX jobs_set_due_idx ON jobs (job_type, run_at)
    WHERE status = 'pending' AND queue IS NULL""",
    # the claim's own question: equality, equality, range and order
    """CREATE INDEX jobs_claim_idx ON jobs (queue, priority, run_at, seq)
    WHERE status = 'pending' AND queue IS NOT NULL""",
    # without leased_until, so that a lease is renewed in place
    "CREATE INDEX jobs_running_idx ON jobs (queue, id) WHERE status = 'processing'",
    "CREATE INDEX jobs_processed_at_idx ON jobs (processed_at) WHERE processed_at IS NOT NULL",
    "CREATE INDEX jobs_created_at_id_idx ON jobs (created_at, id)",
    "CREATE INDEX job_runs_seen_at_idx ON job_runs (seen_at)",
]

# NOT VALID: 0009 checks the old rows in a transaction of its own, so that nobody waits for it
CHECKS = {
    "jobs_queue_check": "queue IS NOT NULL OR job_type IN ('complete_booking', 'expire_booking', 'refresh_schedule')",
    # nobody can say how late a job is that was due before all times
    "jobs_times_check": "isfinite(scheduled_at) AND isfinite(run_at)",
    "jobs_priority_check": "priority BETWEEN 0 AND 3",
    # what waits has an attempt left, or whoever claims it would fail
    "jobs_attempt_check": "attempt BETWEEN 0 AND max_attempts - (status = 'pending')::integer",
    "jobs_lease_check": """
        CASE status WHEN 'processing'
          THEN leased_until IS NOT NULL AND leased_by IS NOT NULL AND attempted_at IS NOT NULL
          ELSE leased_until IS NULL
        END
    """,
}


def upgrade() -> None:
    op.execute(
        """ALTER TABLE jobs
        ADD COLUMN queue text,
        ADD COLUMN seq bigint NOT NULL DEFAULT 0,
        ADD COLUMN priority integer NOT NULL DEFAULT 1,
        ADD COLUMN attempt integer NOT NULL DEFAULT 0,
        ADD COLUMN max_attempts integer NOT NULL DEFAULT 4,
        ADD COLUMN lease_token bigint NOT NULL DEFAULT 0,
        ADD COLUMN leased_by text,
        ADD COLUMN leased_until timestamptz,
        ADD COLUMN attempted_at timestamptz,
        ADD COLUMN cancel_requested_at timestamptz,
        ADD COLUMN error_message text,
        ADD COLUMN result jsonb"""
    )
    # a default that is set afterwards rewrites no row
    op.execute("CREATE SEQUENCE jobs_seq_seq AS bigint OWNED BY jobs.seq")
    op.execute("ALTER TABLE jobs ALTER COLUMN seq SET DEFAULT nextval('jobs_seq_seq')")
    for name, check in CHECKS.items():
        op.execute(f"ALTER TABLE jobs ADD CONSTRAINT {name} CHECK ({check}) NOT VALID")
    op.execute(
        """ALTER TABLE jobs SET (
          autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0,
          autovacuum_analyze_scale_factor = 0.02
        )"""
    )
    for table in TABLES.values():
        op.execute(table)
    for index in INDEXES:
        op.execute(index)
    # an instant each: nothing is built
    op.execute("-- squawk-ignore require-concurrent-index-deletion\nDROP INDEX jobs_due_idx")
    op.execute("-- squawk-ignore renaming-object\nALTER INDEX jobs_set_due_idx RENAME TO jobs_due_idx")


def downgrade() -> None:
    # an older version knows how to do none of these
    op.execute("DELETE FROM jobs WHERE queue IS NOT NULL")
    op.execute("-- squawk-ignore ban-drop-constraint\nALTER TABLE jobs DROP CONSTRAINT jobs_times_check")
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
    op.execute(
        """ALTER TABLE jobs RESET (
          autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_cost_delay,
          autovacuum_analyze_scale_factor
        )"""
    )
    op.execute("DROP INDEX jobs_due_idx")
    op.execute("CREATE INDEX jobs_due_idx ON jobs (job_type, run_at) WHERE status = 'pending'")
    op.execute("DROP INDEX jobs_created_at_id_idx")
    op.execute("DROP INDEX jobs_processed_at_idx")
    op.execute(
        """ALTER TABLE jobs
        DROP COLUMN queue, DROP COLUMN seq, DROP COLUMN priority, DROP COLUMN attempt, DROP COLUMN max_attempts,
        DROP COLUMN lease_token, DROP COLUMN leased_by, DROP COLUMN leased_until, DROP COLUMN attempted_at,
        DROP COLUMN cancel_requested_at, DROP COLUMN error_message, DROP COLUMN result"""
    )
