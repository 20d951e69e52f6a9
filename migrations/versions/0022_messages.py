"""Messages to customers, what customers prefer, and reminders.

Revision ID: 0022
Revises: 0021
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

TABLES = {
    "message_channels": """
        CREATE TABLE message_channels (
          name text CONSTRAINT message_channels_pkey PRIMARY KEY,
          is_enabled boolean NOT NULL,
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT message_channels_name_check CHECK (name IN ('email', 'sms'))
        )
    """,
    "messages": """
        CREATE TABLE messages (
          id uuid CONSTRAINT messages_pkey PRIMARY KEY DEFAULT time_ordered_uuid(),
          customer_id uuid NOT NULL CONSTRAINT messages_customer_id_fkey REFERENCES customers,
          channel text NOT NULL,
          template text NOT NULL,
          subject_type text NOT NULL,
          subject_id uuid NOT NULL,
          told_status text NOT NULL,
          told_starts_at timestamptz,
          dedupe_key text NOT NULL,
          status text NOT NULL DEFAULT 'pending',
          language text,
          reason text,
          detail text,
          provider_ref text,
          sending_at timestamptz,
          sent_at timestamptz,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT messages_dedupe_key_channel_key UNIQUE (dedupe_key, channel),
          CONSTRAINT messages_channel_check CHECK (channel IN ('email', 'sms')),
          CONSTRAINT messages_subject_type_check CHECK (subject_type IN ('booking', 'prebooking')),
          CONSTRAINT messages_status_check CHECK (status IN ('pending', 'sending', 'sent', 'failed', 'skipped')),
          CONSTRAINT messages_sent_check CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
          CONSTRAINT messages_reason_check CHECK (status NOT IN ('failed', 'skipped') OR reason IS NOT NULL)
        )
    """,
    "sms_opt_outs": """
        CREATE TABLE sms_opt_outs (
          number_hash bytea CONSTRAINT sms_opt_outs_pkey PRIMARY KEY,
          created_at timestamptz NOT NULL DEFAULT now()
        )
    """,
}

QUEUE_CHECK = "queue IS NOT NULL OR job_type IN ('complete_booking', 'expire_booking', 'refresh_schedule'{})"

INDEXES = [
    "CREATE INDEX messages_created_at_id_idx ON messages (created_at, id)",
    "CREATE INDEX messages_customer_id_idx ON messages (customer_id, created_at, id)",
    "CREATE INDEX messages_live_idx ON messages (created_at) WHERE status IN ('pending', 'sending')",
]


def upgrade() -> None:
    op.execute(
        """ALTER TABLE customers
        ADD COLUMN language text,
        ADD COLUMN timezone text,
        ADD COLUMN email_opt_out boolean NOT NULL DEFAULT false,
        ADD COLUMN sms_opt_out boolean NOT NULL DEFAULT false"""
    )
    op.execute(
        """ALTER TABLE customers ADD CONSTRAINT customers_timezone_check
        CHECK (timestamptz '2000-01-01 00:00:00Z' AT TIME ZONE timezone IS NOT NULL OR timezone IS NULL) NOT VALID"""
    )
    op.execute("ALTER TABLE schedules ADD COLUMN reminder_minutes integer[] NOT NULL DEFAULT '{}'")
    op.execute(
        """ALTER TABLE schedules ADD CONSTRAINT schedules_reminder_minutes_check CHECK (
          cardinality(reminder_minutes) <= 5 AND array_position(reminder_minutes, NULL) IS NULL
          AND 1 <= ALL (reminder_minutes) AND 525600 >= ALL (reminder_minutes)
        ) NOT VALID"""
    )
    # what the database does by itself has no queue, and reminders are one more of it
    op.execute(
        f"""ALTER TABLE jobs
        -- squawk-ignore ban-drop-constraint
        DROP CONSTRAINT jobs_queue_check,
        ADD CONSTRAINT jobs_queue_check CHECK ({QUEUE_CHECK.format(", 'remind_booking'")}) NOT VALID"""
    )
    for table in TABLES.values():
        op.execute(table)
    for index in INDEXES:
        op.execute(index)


def downgrade() -> None:
    for name in ("messages", "sms_opt_outs", "message_channels"):
        op.execute(f"DROP TABLE {name}")
    op.execute("-- squawk-ignore ban-drop-column\nALTER TABLE schedules DROP COLUMN reminder_minutes")
    for column in ("language", "timezone", "email_opt_out", "sms_opt_out"):
        op.execute(f"-- squawk-ignore ban-drop-column\nALTER TABLE customers DROP COLUMN {column}")
    # what only the newer version knows how to do
    op.execute(
        """UPDATE jobs SET status = 'cancelled', leased_until = NULL, processed_at = now(), updated_at = now()
        WHERE job_type IN ('send_message', 'remind_booking') AND status IN ('pending', 'processing')"""
    )
    op.execute("DELETE FROM jobs WHERE job_type = 'remind_booking'")
    op.execute(
        f"""-- squawk-ignore constraint-missing-not-valid
        ALTER TABLE jobs DROP CONSTRAINT jobs_queue_check, ADD CONSTRAINT jobs_queue_check CHECK ({QUEUE_CHECK.format("")})"""
    )
