"""Audit rows that the world hears of know the transaction they came with.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # absent: no event, or older than events
    op.execute("ALTER TABLE audit_log ADD COLUMN xid xid8")
    op.execute("CREATE INDEX audit_log_xid_id_idx ON audit_log (xid, id) WHERE xid IS NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE audit_log DROP COLUMN xid")
