"""What 0007 left for later: check the old rows.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

CHECKS = ("jobs_queue_check", "jobs_times_check", "jobs_priority_check", "jobs_attempt_check", "jobs_lease_check")


def upgrade() -> None:
    for check in CHECKS:
        op.execute(f"-- squawk-ignore constraint-missing-not-valid\nALTER TABLE jobs VALIDATE CONSTRAINT {check}")


def downgrade() -> None:
    """Nothing to do: a check that is valid stays."""
