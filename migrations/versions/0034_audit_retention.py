"""Where chains end, what was dropped of them, salts of addresses; and that all rows are older than the months to come.

Revision ID: 0034
Revises: 0033
"""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

TABLES = {
    "audit_chains": """
        CREATE TABLE audit_chains (
          subject_type text NOT NULL,
          subject_id text NOT NULL,
          position integer NOT NULL,
          hash bytea NOT NULL,
          CONSTRAINT audit_chains_pkey PRIMARY KEY (subject_type, subject_id)
        ) WITH (fillfactor = 80)
    """,
    # up to which subject backfill_audit_chain has noted the ends of chains from before; empty when of all
    "audit_backfill": """
        CREATE TABLE audit_backfill (
          subject_type text NOT NULL,
          subject_id text NOT NULL
        )
    """,
    "audit_dropped": """
        CREATE TABLE audit_dropped (
          number integer NOT NULL,
          subject_type text NOT NULL,
          subject_id text NOT NULL,
          first_position integer NOT NULL,
          prev_hash bytea,
          last_position integer NOT NULL,
          hash bytea NOT NULL,
          CONSTRAINT audit_dropped_pkey PRIMARY KEY (number, subject_type, subject_id, first_position)
        )
    """,
}

# The table becomes the partition for all that is older than a month's beginning. Proved before, so that nobody waits for
# the proof; a month away at least, so that nobody's write is refused in between.
BOUND = """
DO $$ BEGIN
  EXECUTE format(
    'ALTER TABLE audit_log ADD CONSTRAINT audit_log_bound_check CHECK (created_at < %L) NOT VALID',
    (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months') AT TIME ZONE 'UTC'
  );
END $$
"""


def upgrade() -> None:
    for table in TABLES.values():
        op.execute(table)
    op.execute("INSERT INTO audit_backfill SELECT '', '' WHERE EXISTS (SELECT FROM audit_log)")
    op.execute("ALTER TABLE audit_log ADD COLUMN address_salt bytea, ADD COLUMN address_hash bytea")
    op.execute(
        """ALTER TABLE audit_log ADD CONSTRAINT audit_log_address_check
          CHECK (address_hash IS NULL OR num_nonnulls(ip_address, user_agent, address_salt) = 0) NOT VALID"""
    )
    op.execute(BOUND)


def downgrade() -> None:
    op.execute("ALTER TABLE audit_log DROP CONSTRAINT IF EXISTS audit_log_bound_check")
    for column in ("address_hash", "address_salt"):
        op.execute(f"-- squawk-ignore ban-drop-column\nALTER TABLE audit_log DROP COLUMN {column}")
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
