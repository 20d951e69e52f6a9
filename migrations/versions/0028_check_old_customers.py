"""What 0027 left for later: check the old rows.

Revision ID: 0028
Revises: 0027
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("customers_legal_hold_check", "customers_erased_check"):
        op.execute(
            f"""-- squawk-ignore constraint-missing-not-valid
            ALTER TABLE customers VALIDATE CONSTRAINT {name}"""
        )


def downgrade() -> None:
    """Nothing to do: a check that is valid stays."""
