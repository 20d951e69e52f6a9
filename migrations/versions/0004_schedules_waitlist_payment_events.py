"""Schedules with their exceptions, waitlists, and what payment providers told us.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# In order of creation; the way down drops them in reverse.
TABLES = {
    "schedules": """
        CREATE TABLE schedules (
          resource_id uuid CONSTRAINT schedules_pkey PRIMARY KEY
            CONSTRAINT schedules_resource_id_fkey REFERENCES resources,
          weekly jsonb NOT NULL,
          slot_minutes integer NOT NULL,
          max_bookings integer NOT NULL,
          max_units integer,
          horizon_days integer NOT NULL DEFAULT 60,
          min_notice_minutes integer NOT NULL DEFAULT 0,
          booking_window_days integer,
          opens_at_local time NOT NULL DEFAULT '00:00',
          cancel_cutoff_minutes integer NOT NULL DEFAULT 0,
          hold_minutes integer NOT NULL DEFAULT 15,
          offer_minutes integer NOT NULL DEFAULT 60,
          max_bookings_per_customer integer,
          version integer NOT NULL DEFAULT 1,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT schedules_slot_minutes_check CHECK (slot_minutes BETWEEN 5 AND 1440),
          CONSTRAINT schedules_max_bookings_check CHECK (max_bookings > 0),
          CONSTRAINT schedules_max_units_check CHECK (max_units > 0),
          CONSTRAINT schedules_horizon_days_check CHECK (horizon_days BETWEEN 1 AND 400),
          CONSTRAINT schedules_min_notice_minutes_check CHECK (min_notice_minutes BETWEEN 0 AND 525600),
          CONSTRAINT schedules_booking_window_days_check CHECK (booking_window_days BETWEEN 0 AND 400),
          CONSTRAINT schedules_opens_at_local_check CHECK (opens_at_local < '24:00'),
          CONSTRAINT schedules_cancel_cutoff_minutes_check CHECK (cancel_cutoff_minutes BETWEEN 0 AND 525600),
          CONSTRAINT schedules_hold_minutes_check CHECK (hold_minutes BETWEEN 1 AND 10080),
          CONSTRAINT schedules_offer_minutes_check CHECK (offer_minutes BETWEEN 1 AND 10080),
          CONSTRAINT schedules_max_bookings_per_customer_check CHECK (max_bookings_per_customer > 0)
        )
    """,
    "schedule_exceptions": """
        CREATE TABLE schedule_exceptions (
          resource_id uuid NOT NULL CONSTRAINT schedule_exceptions_resource_id_fkey REFERENCES resources,
          date date NOT NULL,
          hours jsonb NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT schedule_exceptions_pkey PRIMARY KEY (resource_id, date)
        )
    """,
    "waitlist_entries": """
        CREATE TABLE waitlist_entries (
          id uuid CONSTRAINT waitlist_entries_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
          -- drawn under the slot's lock: the order of the line
          place_in_line bigint GENERATED ALWAYS AS IDENTITY,
          slot_id uuid NOT NULL CONSTRAINT waitlist_entries_slot_id_fkey REFERENCES slots,
          customer_id uuid NOT NULL CONSTRAINT waitlist_entries_customer_id_fkey REFERENCES customers,
          units integer NOT NULL DEFAULT 1,
          payment_method text NOT NULL DEFAULT 'pay_on_arrival',
          status text NOT NULL DEFAULT 'waiting',
          booking_id uuid CONSTRAINT waitlist_entries_booking_id_fkey REFERENCES bookings,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT waitlist_entries_units_check CHECK (units BETWEEN 1 AND 10000),
          CONSTRAINT waitlist_entries_payment_method_check CHECK (payment_method IN ('pay_on_arrival', 'pay_now')),
          CONSTRAINT waitlist_entries_status_check
            CHECK (status IN ('waiting', 'offered', 'accepted', 'expired', 'cancelled', 'closed')),
          CONSTRAINT waitlist_entries_booking_check CHECK (
            CASE
              WHEN status IN ('waiting', 'closed') THEN booking_id IS NULL
              WHEN status = 'cancelled' THEN true
              ELSE booking_id IS NOT NULL
            END
          )
        )
    """,
    "payment_events": """
        CREATE TABLE payment_events (
          id text CONSTRAINT payment_events_pkey PRIMARY KEY,
          event_type text NOT NULL,
          booking_id uuid,
          payment_status text,
          outcome text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT payment_events_payment_status_check CHECK (payment_status IN ('paid', 'failed', 'refunded')),
          CONSTRAINT payment_events_outcome_check CHECK (
            outcome IN ('recorded', 'unchanged', 'ignored', 'booking_not_found', 'hold_expired', 'invalid_transition')
          )
        )
    """,
}

INDEXES = [
    # a customer stands in one line once
    "CREATE UNIQUE INDEX waitlist_entries_live_key ON waitlist_entries (slot_id, customer_id)"
    " WHERE status IN ('waiting', 'offered')",
    "CREATE INDEX waitlist_entries_line_idx ON waitlist_entries (slot_id, place_in_line) WHERE status = 'waiting'",
    "CREATE INDEX waitlist_entries_booking_id_idx ON waitlist_entries (booking_id) WHERE booking_id IS NOT NULL",
    "CREATE INDEX waitlist_entries_customer_id_idx ON waitlist_entries (customer_id)",
    # availability looks for holds whose time is over
    "CREATE INDEX bookings_lapsed_idx ON bookings (resource_id, expires_at) WHERE expires_at IS NOT NULL",
    # jsonb_path_ops answers containment alone, at half the size; a booking without metadata pays nothing for it
    "CREATE INDEX bookings_metadata_idx ON bookings USING gin (metadata jsonb_path_ops) WHERE metadata <> '{}'",
]

# One step of a schedule's plan: what happens to which slot.
SLOT_CHANGE = """
    CREATE TYPE slot_change AS (
      action text, slot_id uuid, starts_at timestamptz, ends_at timestamptz, max_bookings integer, max_units integer
    )
"""


def upgrade() -> None:
    for table in TABLES.values():
        op.execute(table)
    for index in INDEXES:
        op.execute(index)
    op.execute(SLOT_CHANGE)
    _allow_sources("'manual', 'import', 'schedule'")


def downgrade() -> None:
    # without schedules, what one made is as good as made by hand
    op.execute("UPDATE slots SET source = 'manual' WHERE source = 'schedule'")
    _allow_sources("'manual', 'import'")
    op.execute("DROP TYPE slot_change")
    op.execute("DROP INDEX bookings_metadata_idx")
    op.execute("DROP INDEX bookings_lapsed_idx")
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
    # jobs that only the newer version knows how to do
    op.execute("DELETE FROM jobs WHERE job_type = 'refresh_schedule'")


def _allow_sources(sources: str) -> None:
    op.execute("-- squawk-ignore ban-drop-constraint\nALTER TABLE slots DROP CONSTRAINT slots_source_check")
    # validated by 0006, in a transaction of its own, so that nobody waits for it
    op.execute(f"ALTER TABLE slots ADD CONSTRAINT slots_source_check CHECK (source IN ({sources})) NOT VALID")
