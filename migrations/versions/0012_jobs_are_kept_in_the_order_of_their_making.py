"""Jobs are kept in the order of their making: ids that sort by it, instead of an index beside random ones.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE jobs ALTER COLUMN id SET DEFAULT time_ordered_uuid()")
    # an instant: nothing is built
    op.execute("-- squawk-ignore require-concurrent-index-deletion\nDROP INDEX jobs_created_at_id_idx")


def downgrade() -> None:
    op.execute("CREATE INDEX jobs_created_at_id_idx ON jobs (created_at, id)")
    op.execute("ALTER TABLE jobs ALTER COLUMN id SET DEFAULT gen_random_uuid()")
