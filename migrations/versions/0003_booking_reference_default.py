"""Bookings draw their reference by default, so that any writer gets one.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE bookings ALTER COLUMN reference SET DEFAULT booking_reference(nextval('booking_reference_seq'))"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE bookings ALTER COLUMN reference DROP DEFAULT")
