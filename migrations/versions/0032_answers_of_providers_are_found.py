"""Where what providers said of prebookings is found when it is to be forgotten.

Revision ID: 0032
Revises: 0031
"""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

INDEXES = {
    "prebookings_answers_idx": """prebookings (updated_at)
    WHERE status IN ('succeeded', 'failed', 'cancelled') AND (detail IS NOT NULL OR confirmation IS NOT NULL)""",
    "prebooking_attempts_answers_idx": """prebooking_attempts (started_at)
    WHERE detail IS NOT NULL OR confirmation IS NOT NULL""",
}


def upgrade() -> None:
    for name, index in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON {index}")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
