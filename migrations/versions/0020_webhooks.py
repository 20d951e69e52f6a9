"""Webhooks: where events are delivered to, and what came of it.

Revision ID: 0020
Revises: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TABLES = {
    "webhook_endpoints": """
        CREATE TABLE webhook_endpoints (
          id uuid CONSTRAINT webhook_endpoints_pkey PRIMARY KEY,
          url text NOT NULL,
          event_types text[],
          description text,
          is_enabled boolean NOT NULL DEFAULT true,
          disabled_reason text,
          failing_since timestamptz,
          tested_at timestamptz,
          version integer NOT NULL DEFAULT 1,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT webhook_endpoints_event_types_check CHECK (cardinality(event_types) > 0),
          CONSTRAINT webhook_endpoints_disabled_check CHECK (
            is_enabled = (disabled_reason IS NULL) AND disabled_reason IN ('by_hand', 'gone', 'failing')
          )
        )
    """,
    "webhook_secrets": """
        CREATE TABLE webhook_secrets (
          id uuid CONSTRAINT webhook_secrets_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
          endpoint_id uuid NOT NULL CONSTRAINT webhook_secrets_endpoint_id_fkey REFERENCES webhook_endpoints,
          key_id text NOT NULL,
          nonce bytea NOT NULL,
          ciphertext bytea NOT NULL,
          expires_at timestamptz,
          created_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT webhook_secrets_nonce_check CHECK (octet_length(nonce) = 12)
        )
    """,
    "deliveries": """
        CREATE TABLE deliveries (
          id uuid CONSTRAINT deliveries_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
          endpoint_id uuid NOT NULL CONSTRAINT deliveries_endpoint_id_fkey REFERENCES webhook_endpoints,
          audit_id bigint NOT NULL,
          event_type text NOT NULL,
          status text NOT NULL DEFAULT 'pending',
          attempts integer NOT NULL DEFAULT 0,
          last_status integer,
          last_duration_ms integer,
          last_answer text,
          last_error text,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT deliveries_endpoint_id_audit_id_key UNIQUE (endpoint_id, audit_id),
          CONSTRAINT deliveries_status_check CHECK (status IN ('pending', 'delivered', 'failed', 'cancelled')),
          CONSTRAINT deliveries_attempts_check CHECK (attempts >= 0)
        )
    """,
    "delivery_attempts": """
        CREATE TABLE delivery_attempts (
          delivery_id uuid NOT NULL CONSTRAINT delivery_attempts_delivery_id_fkey REFERENCES deliveries,
          attempt integer NOT NULL,
          status integer,
          duration_ms integer NOT NULL,
          answer text,
          error text,
          ended_at timestamptz NOT NULL,
          CONSTRAINT delivery_attempts_pkey PRIMARY KEY (delivery_id, attempt)
        )
    """,
}

INDEXES = [
    "CREATE INDEX webhook_secrets_endpoint_id_idx ON webhook_secrets (endpoint_id, created_at)",
    "CREATE INDEX deliveries_created_at_id_idx ON deliveries (created_at, id)",
    "CREATE INDEX deliveries_over_idx ON deliveries (updated_at) WHERE status <> 'pending'",
]


def upgrade() -> None:
    for table in TABLES.values():
        op.execute(table)
    for index in INDEXES:
        op.execute(index)


def downgrade() -> None:
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
    # what only the newer version knows how to do
    op.execute(
        """UPDATE jobs SET status = 'cancelled', leased_until = NULL, processed_at = now(), updated_at = now()
        WHERE job_type = 'deliver_webhook' AND status IN ('pending', 'processing')"""
    )
