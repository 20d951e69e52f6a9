"""Prebookings: what to book when booking opens, here or at a provider.

Revision ID: 0017
Revises: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLES = {
    "prebookings": """
        CREATE TABLE prebookings (
          id uuid CONSTRAINT prebookings_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
          place_in_line bigint GENERATED ALWAYS AS IDENTITY,
          customer_id uuid NOT NULL CONSTRAINT prebookings_customer_id_fkey REFERENCES customers,
          resource_id uuid CONSTRAINT prebookings_resource_id_fkey REFERENCES resources,
          provider text CONSTRAINT prebookings_provider_fkey REFERENCES providers,
          targets jsonb NOT NULL,
          target jsonb GENERATED ALWAYS AS (targets -> 0) STORED,
          starts_at timestamptz[],
          units integer NOT NULL DEFAULT 1,
          payment_method text NOT NULL DEFAULT 'pay_on_arrival',
          join_waitlist boolean NOT NULL DEFAULT false,
          opens_at timestamptz NOT NULL,
          is_opening_given boolean NOT NULL DEFAULT false,
          status text NOT NULL DEFAULT 'pending',
          booked_choice integer,
          booking_id uuid CONSTRAINT prebookings_booking_id_fkey REFERENCES bookings,
          confirmation text,
          waitlist_entry_id uuid CONSTRAINT prebookings_waitlist_entry_id_fkey REFERENCES waitlist_entries,
          reason text,
          detail text,
          needs_attention boolean NOT NULL DEFAULT false,
          fired_at timestamptz,
          lateness_ms integer,
          version integer NOT NULL DEFAULT 1,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT prebookings_where_check CHECK ((resource_id IS NULL) <> (provider IS NULL)),
          CONSTRAINT prebookings_targets_check
            CHECK (CASE WHEN jsonb_typeof(targets) = 'array' THEN jsonb_array_length(targets) BETWEEN 1 AND 10 ELSE false END),
          CONSTRAINT prebookings_starts_at_check CHECK (
            CASE
              WHEN resource_id IS NULL THEN starts_at IS NULL
              -- of what is no array prebookings_targets_check complains
              WHEN jsonb_typeof(targets) = 'array' THEN COALESCE(
                cardinality(starts_at) = jsonb_array_length(targets) AND array_position(starts_at, NULL) IS NULL, false
              )
              ELSE true
            END
          ),
          CONSTRAINT prebookings_units_check CHECK (units > 0),
          CONSTRAINT prebookings_payment_method_check CHECK (payment_method IN ('pay_on_arrival', 'pay_now')),
          CONSTRAINT prebookings_opens_at_check CHECK (isfinite(opens_at)),
          CONSTRAINT prebookings_status_check
            CHECK (status IN ('pending', 'executing', 'succeeded', 'failed', 'cancelled')),
          CONSTRAINT prebookings_result_check CHECK (
            CASE status
              WHEN 'succeeded' THEN booked_choice IS NOT NULL AND (provider IS NOT NULL OR booking_id IS NOT NULL)
              WHEN 'failed' THEN reason IS NOT NULL AND booking_id IS NULL
              ELSE num_nonnulls(booked_choice, booking_id, confirmation, waitlist_entry_id, reason) = 0
            END
          )
        )
    """,
    "prebooking_attempts": """
        CREATE TABLE prebooking_attempts (
          id uuid CONSTRAINT prebooking_attempts_pkey PRIMARY KEY DEFAULT time_ordered_uuid(),
          prebooking_id uuid NOT NULL CONSTRAINT prebooking_attempts_prebooking_id_fkey REFERENCES prebookings,
          choice integer NOT NULL,
          finding text,
          detail text,
          confirmation text,
          started_at timestamptz NOT NULL,
          fired_at timestamptz,
          ended_at timestamptz,
          CONSTRAINT prebooking_attempts_choice_check CHECK (choice > 0),
          CONSTRAINT prebooking_attempts_ended_check CHECK ((finding IS NULL) = (ended_at IS NULL))
        )
    """,
    "lottery_draws": """
        CREATE TABLE lottery_draws (
          resource_id uuid CONSTRAINT lottery_draws_resource_id_fkey REFERENCES resources,
          opens_at timestamptz,
          seed text NOT NULL,
          entries integer NOT NULL,
          drawn_at timestamptz NOT NULL,
          CONSTRAINT lottery_draws_pkey PRIMARY KEY (resource_id, opens_at),
          CONSTRAINT lottery_draws_drawn_at_check CHECK (drawn_at >= opens_at)
        )
    """,
}

INDEXES = [
    # one customer, one chance at a target
    """CREATE UNIQUE INDEX prebookings_resource_chance_key ON prebookings (customer_id, resource_id, target)
    WHERE status IN ('pending', 'executing') AND resource_id IS NOT NULL""",
    """CREATE UNIQUE INDEX prebookings_provider_chance_key ON prebookings (customer_id, provider, target)
    WHERE status IN ('pending', 'executing') AND provider IS NOT NULL""",
    # asked for each booking of a newcomer: nothing is in it between two openings but what is still to come
    "CREATE INDEX prebookings_pending_idx ON prebookings (resource_id, opens_at) WHERE status = 'pending'",
    "CREATE INDEX prebookings_live_idx ON prebookings (opens_at) WHERE status IN ('pending', 'executing')",
    """CREATE INDEX prebookings_opening_idx ON prebookings (provider, opens_at, place_in_line)
    WHERE provider IS NOT NULL""",
    "CREATE INDEX prebookings_customer_id_idx ON prebookings (customer_id, created_at, id)",
    "CREATE INDEX prebookings_created_at_id_idx ON prebookings (created_at, id)",
    "CREATE INDEX prebookings_booking_id_idx ON prebookings (booking_id) WHERE booking_id IS NOT NULL",
    "CREATE INDEX prebooking_attempts_prebooking_id_idx ON prebooking_attempts (prebooking_id, id)",
]


def upgrade() -> None:
    op.execute("ALTER TABLE schedules ADD COLUMN opening_policy text NOT NULL DEFAULT 'fifo'")
    op.execute(
        """ALTER TABLE schedules
        ADD CONSTRAINT schedules_opening_policy_check CHECK (opening_policy IN ('fifo', 'lottery')) NOT VALID"""
    )
    for table in TABLES.values():
        op.execute(table)
    for index in INDEXES:
        op.execute(index)


def downgrade() -> None:
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
    op.execute("-- squawk-ignore ban-drop-column\nALTER TABLE schedules DROP COLUMN opening_policy")
    # what only the newer version knows how to do
    op.execute(
        """UPDATE jobs SET status = 'cancelled', leased_until = NULL, processed_at = now(), updated_at = now()
        WHERE job_type IN ('run_openings', 'execute_prebooking') AND status IN ('pending', 'processing')"""
    )
