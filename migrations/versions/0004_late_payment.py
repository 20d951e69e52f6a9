"""Money that comes after a hold ended may still confirm the booking.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT INTO booking_transitions (from_status, to_status) VALUES ('expired', 'confirmed')")


def downgrade() -> None:
    op.execute("DELETE FROM booking_transitions WHERE (from_status, to_status) = ('expired', 'confirmed')")
