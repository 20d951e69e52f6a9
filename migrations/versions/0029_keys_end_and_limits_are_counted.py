"""When API keys end and were last used, and what was spent of rate limits.

Revision ID: 0029
Revises: 0028
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE api_keys ADD COLUMN expires_at timestamptz, ADD COLUMN last_used_at timestamptz")
    op.execute(
        "ALTER TABLE api_keys ADD CONSTRAINT api_keys_expires_at_check CHECK (expires_at >= created_at) NOT VALID"
    )
    # unlogged: what a crash forgets is that somebody was busy a minute ago; room on each page for rows to change in place
    op.execute(
        """CREATE UNLOGGED TABLE rate_limits (
          principal text NOT NULL,
          policy text NOT NULL,
          spent_until timestamptz NOT NULL,
          CONSTRAINT rate_limits_pkey PRIMARY KEY (principal, policy)
        ) WITH (fillfactor = 50)"""
    )


def downgrade() -> None:
    op.execute("DROP TABLE rate_limits")
    for column in ("last_used_at", "expires_at"):
        op.execute(f"-- squawk-ignore ban-drop-column\nALTER TABLE api_keys DROP COLUMN {column}")
