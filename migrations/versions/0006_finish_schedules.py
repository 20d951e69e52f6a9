"""What 0004 left for later: check the old rows, and drop what nothing reads any more.

How long a hold lasts is the schedule's to say.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("-- squawk-ignore constraint-missing-not-valid\nALTER TABLE slots VALIDATE CONSTRAINT slots_source_check")
    op.execute("-- squawk-ignore ban-drop-column\nALTER TABLE resources DROP COLUMN hold_minutes")


def downgrade() -> None:
    op.execute(
        """ALTER TABLE resources
        ADD COLUMN hold_minutes integer NOT NULL DEFAULT 15,
        ADD CONSTRAINT resources_hold_minutes_check CHECK (hold_minutes BETWEEN 1 AND 10080)"""
    )
