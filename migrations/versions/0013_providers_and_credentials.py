"""Providers outside, and what lets customers in there.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = {
    "providers": """
        CREATE TABLE providers (
          name text CONSTRAINT providers_pkey PRIMARY KEY,
          adapter text NOT NULL,
          settings jsonb NOT NULL DEFAULT '{}',
          timezone text NOT NULL,
          booking_window_days integer,
          opens_at_local time NOT NULL DEFAULT '00:00',
          is_enabled boolean NOT NULL DEFAULT true,
          version integer NOT NULL DEFAULT 1,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT providers_name_check CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
          CONSTRAINT providers_settings_check CHECK (jsonb_typeof(settings) = 'object'),
          CONSTRAINT providers_timezone_check
            CHECK (timestamptz '2000-01-01 00:00:00Z' AT TIME ZONE timezone IS NOT NULL),
          CONSTRAINT providers_booking_window_days_check CHECK (booking_window_days BETWEEN 0 AND 400),
          CONSTRAINT providers_opens_at_local_check CHECK (opens_at_local < '24:00')
        )
    """,
    "provider_credentials": """
        CREATE TABLE provider_credentials (
          id uuid CONSTRAINT provider_credentials_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
          provider text NOT NULL CONSTRAINT provider_credentials_provider_fkey REFERENCES providers,
          customer_id uuid NOT NULL CONSTRAINT provider_credentials_customer_id_fkey REFERENCES customers,
          key_id text NOT NULL,
          nonce bytea NOT NULL,
          ciphertext bytea NOT NULL,
          status text NOT NULL DEFAULT 'unchecked',
          checked_at timestamptz,
          check_detail text,
          version integer NOT NULL DEFAULT 1,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT provider_credentials_provider_customer_id_key UNIQUE (provider, customer_id),
          CONSTRAINT provider_credentials_nonce_check CHECK (octet_length(nonce) = 12),
          CONSTRAINT provider_credentials_status_check CHECK (status IN ('unchecked', 'valid', 'invalid')),
          CONSTRAINT provider_credentials_checked_check CHECK (
            (status = 'unchecked') = (checked_at IS NULL) AND (checked_at IS NOT NULL OR check_detail IS NULL)
          )
        )
    """,
}

INDEXES = [
    "CREATE INDEX provider_credentials_customer_id_idx ON provider_credentials (customer_id)",
    "CREATE INDEX provider_credentials_created_at_id_idx ON provider_credentials (created_at, id)",
]


def upgrade() -> None:
    for table in TABLES.values():
        op.execute(table)
    for index in INDEXES:
        op.execute(index)


def downgrade() -> None:
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
    # what only the newer version knows how to do; its queues stay, for their limits harm nobody
    op.execute(
        """UPDATE jobs SET status = 'cancelled', leased_until = NULL, processed_at = now(), updated_at = now()
        WHERE job_type = 'check_credentials' AND status IN ('pending', 'processing')"""
    )
