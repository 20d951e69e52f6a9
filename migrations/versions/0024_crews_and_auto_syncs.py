"""Crews, their members, and auto-syncs with what is proposed and who answers.

Revision ID: 0024
Revises: 0023
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TABLES = {
    "crews": """
        CREATE TABLE crews (
          id uuid CONSTRAINT crews_pkey PRIMARY KEY DEFAULT time_ordered_uuid(),
          name text NOT NULL,
          organizer_id uuid CONSTRAINT crews_organizer_id_fkey REFERENCES customers,
          metadata jsonb NOT NULL DEFAULT '{}',
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now()
        )
    """,
    "crew_members": """
        CREATE TABLE crew_members (
          id uuid CONSTRAINT crew_members_pkey PRIMARY KEY DEFAULT time_ordered_uuid(),
          crew_id uuid NOT NULL CONSTRAINT crew_members_crew_id_fkey REFERENCES crews,
          customer_id uuid NOT NULL CONSTRAINT crew_members_customer_id_fkey REFERENCES customers,
          joined_at timestamptz NOT NULL DEFAULT now(),
          left_at timestamptz,
          CONSTRAINT crew_members_crew_id_customer_id_key UNIQUE (crew_id, customer_id)
        )
    """,
    "auto_syncs": """
        CREATE TABLE auto_syncs (
          id uuid CONSTRAINT auto_syncs_pkey PRIMARY KEY DEFAULT time_ordered_uuid(),
          crew_id uuid NOT NULL CONSTRAINT auto_syncs_crew_id_fkey REFERENCES crews,
          organizer_id uuid CONSTRAINT auto_syncs_organizer_id_fkey REFERENCES customers,
          event_name text NOT NULL,
          status text NOT NULL DEFAULT 'running',
          response_goal text NOT NULL DEFAULT 'everyone',
          goal_number integer,
          goal_share numeric,
          timezone text NOT NULL,
          reminder_after interval NOT NULL DEFAULT '24 hours',
          pause_after interval NOT NULL DEFAULT '48 hours',
          resource_id uuid CONSTRAINT auto_syncs_resource_id_fkey REFERENCES resources,
          units integer NOT NULL DEFAULT 1,
          answered integer NOT NULL DEFAULT 0,
          responses integer NOT NULL DEFAULT 0,
          started_at timestamptz NOT NULL DEFAULT now(),
          reminded_at timestamptz,
          paused_at timestamptz,
          pause_reason text,
          resumed_at timestamptz,
          completed_at timestamptz,
          winning_time_id uuid,
          booking_id uuid CONSTRAINT auto_syncs_booking_id_fkey REFERENCES bookings,
          booking_error text,
          version integer NOT NULL DEFAULT 1,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT auto_syncs_status_check CHECK (status IN ('running', 'paused', 'completed', 'cancelled')),
          CONSTRAINT auto_syncs_response_goal_check CHECK (
            response_goal IN ('everyone', 'number', 'share', 'named')
            AND (response_goal = 'number') = (goal_number IS NOT NULL)
            AND (response_goal = 'share') = (goal_share IS NOT NULL)
          ),
          CONSTRAINT auto_syncs_goal_number_check CHECK (goal_number > 0),
          CONSTRAINT auto_syncs_goal_share_check CHECK (goal_share > 0 AND goal_share <= 1),
          CONSTRAINT auto_syncs_timezone_check
            CHECK (timestamptz '2000-01-01 00:00:00Z' AT TIME ZONE timezone IS NOT NULL),
          CONSTRAINT auto_syncs_after_check CHECK (reminder_after > '0' AND pause_after > reminder_after),
          CONSTRAINT auto_syncs_units_check CHECK (units > 0),
          CONSTRAINT auto_syncs_resource_id_check CHECK (resource_id IS NULL OR organizer_id IS NOT NULL),
          CONSTRAINT auto_syncs_paused_check CHECK (
            (status = 'paused') = (paused_at IS NOT NULL) AND (status = 'paused') = (pause_reason IS NOT NULL)
          ),
          CONSTRAINT auto_syncs_completed_check CHECK ((status = 'completed') = (completed_at IS NOT NULL))
        )
    """,
    "auto_sync_times": """
        CREATE TABLE auto_sync_times (
          id uuid CONSTRAINT auto_sync_times_pkey PRIMARY KEY DEFAULT time_ordered_uuid(),
          auto_sync_id uuid NOT NULL CONSTRAINT auto_sync_times_auto_sync_id_fkey REFERENCES auto_syncs,
          position integer NOT NULL,
          starts_at timestamptz NOT NULL,
          ends_at timestamptz NOT NULL,
          slot_id uuid,
          CONSTRAINT auto_sync_times_auto_sync_id_position_key UNIQUE (auto_sync_id, position),
          CONSTRAINT auto_sync_times_ends_at_check CHECK (ends_at > starts_at)
        )
    """,
    "auto_sync_participants": """
        CREATE TABLE auto_sync_participants (
          id uuid CONSTRAINT auto_sync_participants_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
          auto_sync_id uuid NOT NULL CONSTRAINT auto_sync_participants_auto_sync_id_fkey REFERENCES auto_syncs,
          customer_id uuid NOT NULL CONSTRAINT auto_sync_participants_customer_id_fkey REFERENCES customers,
          is_named boolean NOT NULL DEFAULT false,
          answer text,
          time_ids uuid[] NOT NULL DEFAULT '{}',
          answered_at timestamptz,
          removed_at timestamptz,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT auto_sync_participants_auto_sync_id_customer_id_key UNIQUE (auto_sync_id, customer_id),
          CONSTRAINT auto_sync_participants_answer_check CHECK (answer IN ('accepted', 'declined')),
          CONSTRAINT auto_sync_participants_answered_check CHECK ((answer IS NULL) = (answered_at IS NULL)),
          CONSTRAINT auto_sync_participants_time_ids_check
            CHECK (time_ids = '{}' OR COALESCE(answer = 'accepted', false))
        )
    """,
}

INDEXES = [
    "CREATE INDEX crews_created_at_id_idx ON crews (created_at, id)",
    "CREATE INDEX crews_organizer_id_idx ON crews (organizer_id)",
    "CREATE INDEX crew_members_joined_at_id_idx ON crew_members (crew_id, joined_at, id)",
    "CREATE INDEX crew_members_customer_id_idx ON crew_members (customer_id)",
    "CREATE INDEX auto_syncs_created_at_id_idx ON auto_syncs (created_at, id)",
    "CREATE INDEX auto_syncs_crew_id_idx ON auto_syncs (crew_id, created_at, id)",
    "CREATE INDEX auto_syncs_running_idx ON auto_syncs (id) WHERE status = 'running'",
    "CREATE INDEX auto_sync_participants_customer_id_idx ON auto_sync_participants (customer_id)",
]

QUEUE_CHECK = (
    "queue IS NOT NULL OR job_type IN ('complete_booking', 'expire_booking', 'refresh_schedule', 'remind_booking'{})"
)
JOB_TYPES = "'auto_sync_reminder', 'auto_sync_pause_check'"
SUBJECT_CHECK = "subject_type IN ('booking', 'prebooking'{})"


def upgrade() -> None:
    for name, table in TABLES.items():
        op.execute(table)
        # until the functions of the next revision say who may see what, nobody but the owner sees anything
        op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    for index in INDEXES:
        op.execute(index)
    _check("jobs", "queue", QUEUE_CHECK.format(f", {JOB_TYPES}"))
    _check("messages", "subject_type", SUBJECT_CHECK.format(", 'auto_sync'"))


def downgrade() -> None:
    # what only the newer version knows how to do, and what it told
    op.execute(
        """UPDATE jobs SET status = 'cancelled', leased_until = NULL, processed_at = now(), updated_at = now()
        WHERE job_type = 'send_message' AND status IN ('pending', 'processing')
          AND dedupe_key IN (SELECT id::text FROM messages WHERE subject_type = 'auto_sync')"""
    )
    op.execute("DELETE FROM messages WHERE subject_type = 'auto_sync'")
    op.execute(f"DELETE FROM jobs WHERE job_type IN ({JOB_TYPES})")
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
    _check("jobs", "queue", QUEUE_CHECK.format(""))
    _check("messages", "subject_type", SUBJECT_CHECK.format(""))


def _check(table: str, name: str, condition: str) -> None:
    op.execute(
        f"""ALTER TABLE {table}
        -- squawk-ignore ban-drop-constraint
        DROP CONSTRAINT {table}_{name}_check,
        ADD CONSTRAINT {table}_{name}_check CHECK ({condition}) NOT VALID"""
    )
