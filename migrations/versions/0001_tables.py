"""The tables.

Revision ID: 0001
Revises: nothing
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# In order of creation; the way down drops them in reverse.
TABLES = {
    "resources": """
        CREATE TABLE resources (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          name text NOT NULL,
          timezone text NOT NULL,
          hold_minutes integer NOT NULL DEFAULT 15,
          external_id text,
          metadata jsonb NOT NULL DEFAULT '{}',
          version integer NOT NULL DEFAULT 1,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT resources_external_id_key UNIQUE (external_id),
          CONSTRAINT resources_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
          CONSTRAINT resources_timezone_check
            CHECK (timestamptz '2000-01-01 00:00:00Z' AT TIME ZONE timezone IS NOT NULL),
          CONSTRAINT resources_hold_minutes_check CHECK (hold_minutes BETWEEN 1 AND 10080),
          CONSTRAINT resources_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
        )
    """,
    "slots": """
        CREATE TABLE slots (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          resource_id uuid NOT NULL CONSTRAINT slots_resource_id_fkey REFERENCES resources,
          starts_at timestamptz NOT NULL,
          ends_at timestamptz NOT NULL,
          max_bookings integer NOT NULL,
          max_units integer,
          booked_bookings integer NOT NULL DEFAULT 0,
          booked_units integer NOT NULL DEFAULT 0,
          is_legacy boolean NOT NULL DEFAULT false,
          source text NOT NULL DEFAULT 'manual',
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT slots_resource_id_starts_at_ends_at_key UNIQUE (resource_id, starts_at, ends_at),
          -- what a booking repeats of its slot; the foreign key on it keeps the two equal
          CONSTRAINT slots_identity_key UNIQUE (id, resource_id, starts_at, ends_at),
          CONSTRAINT slots_interval_check CHECK (starts_at < ends_at),
          CONSTRAINT slots_max_bookings_check CHECK (max_bookings > 0),
          CONSTRAINT slots_max_units_check CHECK (max_units > 0),
          CONSTRAINT slots_source_check CHECK (source IN ('manual', 'import')),
          CONSTRAINT slots_booked_bookings_check CHECK (booked_bookings BETWEEN 0 AND max_bookings),
          CONSTRAINT slots_booked_units_check CHECK (booked_units >= 0 AND booked_units <= max_units)
        ) WITH (fillfactor = 70)
    """,
    "customers": """
        CREATE TABLE customers (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          ref text,
          name text,
          email text,
          phone text,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT customers_ref_key UNIQUE (ref)
        )
    """,
    "booking_transitions": """
        CREATE TABLE booking_transitions (
          from_status text NOT NULL,
          to_status text NOT NULL,
          CONSTRAINT booking_transitions_pkey PRIMARY KEY (from_status, to_status)
        )
    """,
    "bookings": """
        CREATE TABLE bookings (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          reference text NOT NULL,
          resource_id uuid NOT NULL,
          slot_id uuid NOT NULL,
          starts_at timestamptz NOT NULL,
          ends_at timestamptz NOT NULL,
          customer_id uuid NOT NULL CONSTRAINT bookings_customer_id_fkey REFERENCES customers,
          units integer NOT NULL DEFAULT 1,
          status text NOT NULL,
          holds_place boolean NOT NULL
            GENERATED ALWAYS AS (status IN ('pending', 'confirmed', 'completed', 'no_show')) STORED,
          payment_method text NOT NULL DEFAULT 'pay_on_arrival',
          payment_status text NOT NULL DEFAULT 'pending',
          expires_at timestamptz,
          external_id text,
          metadata jsonb NOT NULL DEFAULT '{}',
          version integer NOT NULL DEFAULT 1,
          placed_at timestamptz NOT NULL DEFAULT now(),
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT bookings_reference_key UNIQUE (reference),
          CONSTRAINT bookings_slot_fkey FOREIGN KEY (slot_id, resource_id, starts_at, ends_at)
            REFERENCES slots (id, resource_id, starts_at, ends_at) ON UPDATE CASCADE,
          CONSTRAINT bookings_status_check
            CHECK (status IN ('pending', 'confirmed', 'completed', 'cancelled', 'failed', 'expired', 'no_show')),
          CONSTRAINT bookings_units_check CHECK (units BETWEEN 1 AND 10000),
          CONSTRAINT bookings_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
          CONSTRAINT bookings_payment_check CHECK (
            payment_method = 'pay_on_arrival' AND payment_status IN ('pending', 'paid')
            OR payment_method = 'pay_now' AND payment_status IN ('pending', 'paid', 'failed', 'refunded')
          ),
          CONSTRAINT bookings_hold_check CHECK ((status = 'pending') = (expires_at IS NOT NULL)),
          -- against placed_at, not today: a CHECK runs at every update, and an old booking must still complete
          CONSTRAINT bookings_not_in_past_check CHECK (placed_at < starts_at OR external_id IS NOT NULL)
        ) WITH (fillfactor = 85)
    """,
    "jobs": """
        CREATE TABLE jobs (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          job_type text NOT NULL,
          dedupe_key text NOT NULL,
          booking_id uuid,
          payload jsonb NOT NULL DEFAULT '{}',
          status text NOT NULL DEFAULT 'pending',
          scheduled_at timestamptz NOT NULL,
          run_at timestamptz NOT NULL,
          processed_at timestamptz,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT jobs_status_check
            CHECK (status IN ('pending', 'processing', 'processed', 'skipped', 'cancelled', 'discarded')),
          CONSTRAINT jobs_processed_at_check CHECK ((status IN ('pending', 'processing')) = (processed_at IS NULL))
        ) WITH (fillfactor = 80)
    """,
    "audit_log": """
        CREATE TABLE audit_log (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          subject_type text NOT NULL,
          subject_id text NOT NULL,
          event text NOT NULL,
          action_type text NOT NULL,
          old_values jsonb,
          new_values jsonb,
          hidden_changes text[],
          performed_by text NOT NULL,
          performed_by_id text NOT NULL,
          ip_address inet,
          user_agent text,
          reason text,
          request_id text,
          created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
          CONSTRAINT audit_log_performed_by_check CHECK (performed_by IN ('customer', 'admin', 'system', 'database')),
          CONSTRAINT audit_log_old_values_check CHECK ((action_type = 'created') = (old_values IS NULL)),
          CONSTRAINT audit_log_new_values_check CHECK ((action_type = 'deleted') = (new_values IS NULL))
        )
    """,
    "idempotency_keys": """
        CREATE TABLE idempotency_keys (
          principal text NOT NULL,
          operation text NOT NULL,
          key text NOT NULL,
          request_hash bytea NOT NULL,
          response json NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, operation, key)
        )
    """,
    "api_keys": """
        CREATE TABLE api_keys (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          name text NOT NULL,
          prefix text NOT NULL,
          key_hash bytea NOT NULL,
          scopes text[] NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          revoked_at timestamptz,
          CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash),
          CONSTRAINT api_keys_scopes_check
            CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['admin', 'frontend', 'cron'])
        )
    """,
}

INDEXES = [
    "CREATE UNIQUE INDEX bookings_external_id_key ON bookings (external_id) WHERE external_id IS NOT NULL",
    "CREATE INDEX bookings_slot_id_idx ON bookings (slot_id)",
    # holds only; by expires_at, not status: completing a booking must not touch an index
    "CREATE INDEX bookings_holds_idx ON bookings (slot_id, expires_at) WHERE expires_at IS NOT NULL",
    # each list order ends in id, so that a page can start after any row
    "CREATE INDEX bookings_starts_at_id_idx ON bookings (starts_at, id)",
    "CREATE INDEX bookings_resource_id_starts_at_id_idx ON bookings (resource_id, starts_at, id)",
    "CREATE INDEX bookings_customer_id_starts_at_id_idx ON bookings (customer_id, starts_at, id)",
    # dedupe_key leads: a lookup by key must never be planned as a walk through one job type
    "CREATE UNIQUE INDEX jobs_pending_key ON jobs (dedupe_key, job_type) WHERE status = 'pending'",
    "CREATE INDEX jobs_due_idx ON jobs (job_type, run_at) WHERE status = 'pending'",
    "CREATE INDEX audit_log_subject_idx ON audit_log (subject_type, subject_id, id)",
    "CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys USING brin (created_at)",
]

# Who may cause each step is docs/lifecycle.md's to say; which steps exist is the database's.
TRANSITIONS = """
    INSERT INTO booking_transitions (from_status, to_status) VALUES
      ('pending', 'confirmed'), ('pending', 'cancelled'), ('pending', 'expired'), ('pending', 'failed'),
      ('confirmed', 'completed'), ('confirmed', 'cancelled'), ('confirmed', 'no_show'),
      ('completed', 'no_show'), ('completed', 'cancelled'),
      -- money that comes after a hold ended may still confirm it
      ('expired', 'confirmed')
"""


def upgrade() -> None:
    op.execute("CREATE SEQUENCE booking_reference_seq")
    for table in TABLES.values():
        op.execute(table)
    for index in INDEXES:
        op.execute(index)
    op.execute(TRANSITIONS)


def downgrade() -> None:
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
    op.execute("DROP SEQUENCE booking_reference_seq")
