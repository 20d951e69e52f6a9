"""The audit trail is a chain for each subject, checkpoints say where all were, and customers can be erased.

Revision ID: 0026
Revises: 0025
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

TABLES = {
    "audit_checkpoints": """
        CREATE TABLE audit_checkpoints (
          number integer CONSTRAINT audit_checkpoints_pkey PRIMARY KEY,
          up_to bigint NOT NULL,
          digest text NOT NULL,
          statement text NOT NULL,
          signature bytea,
          created_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT audit_checkpoints_number_check CHECK (number > 0)
        )
    """,
    "audit_heads": """
        CREATE TABLE audit_heads (
          checkpoint integer NOT NULL CONSTRAINT audit_heads_checkpoint_fkey REFERENCES audit_checkpoints,
          subject_type text NOT NULL,
          subject_id text NOT NULL,
          position integer NOT NULL,
          hash bytea NOT NULL,
          CONSTRAINT audit_heads_pkey PRIMARY KEY (checkpoint, subject_type, subject_id)
        )
    """,
}


def upgrade() -> None:
    # absent in rows that are older than chains, until backfill_audit_chain has come by
    op.execute(
        """ALTER TABLE audit_log
        ADD COLUMN position integer,
        ADD COLUMN prev_hash bytea,
        ADD COLUMN hash bytea"""
    )
    op.execute("CREATE UNIQUE INDEX audit_log_position_key ON audit_log (subject_type, subject_id, position)")
    op.execute("CREATE INDEX audit_log_unchained_idx ON audit_log (id) WHERE position IS NULL")
    # the index above answers what it did
    op.execute("-- squawk-ignore require-concurrent-index-deletion\nDROP INDEX audit_log_subject_idx")
    for table in TABLES.values():
        op.execute(table)
    op.execute(
        """ALTER TABLE customers
        ADD COLUMN legal_hold_since timestamptz,
        ADD COLUMN legal_hold_reason text,
        ADD COLUMN erased_at timestamptz"""
    )
    op.execute(
        """ALTER TABLE customers
        ADD CONSTRAINT customers_legal_hold_check
          CHECK ((legal_hold_since IS NULL) = (legal_hold_reason IS NULL)) NOT VALID,
        ADD CONSTRAINT customers_erased_check
          CHECK (erased_at IS NULL OR num_nonnulls(ref, name, email, phone, language, timezone, legal_hold_since) = 0)
          NOT VALID"""
    )


def downgrade() -> None:
    for column in ("erased_at", "legal_hold_reason", "legal_hold_since"):
        op.execute(f"-- squawk-ignore ban-drop-column\nALTER TABLE customers DROP COLUMN {column}")
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
    op.execute("CREATE INDEX audit_log_subject_idx ON audit_log (subject_type, subject_id, id)")
    for column in ("hash", "prev_hash", "position"):
        op.execute(f"-- squawk-ignore ban-drop-column\nALTER TABLE audit_log DROP COLUMN {column}")
