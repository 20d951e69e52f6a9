"""Where events are delivered to, and what came of it."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA

from app.tables.columns import ID, WHEN, metadata, timestamps

webhook_endpoints = sa.Table(
    "webhook_endpoints",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    # null where all are wanted
    sa.Column("event_types", sa.ARRAY(sa.Text)),
    sa.Column("description", sa.Text),
    sa.Column("is_enabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", sa.Text),
    # since the first failure after the last success
    sa.Column("failing_since", WHEN),
    sa.Column("tested_at", WHEN),
    # of what an admin says: failing is no new one
    sa.Column("version", sa.Integer, nullable=False),
    *timestamps(),
)

webhook_secrets = sa.Table(
    "webhook_secrets",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("endpoint_id", ID, sa.ForeignKey("webhook_endpoints.id"), nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("nonce", BYTEA, nullable=False),
    sa.Column("ciphertext", BYTEA, nullable=False),
    # absent: the newest
    sa.Column("expires_at", WHEN),
    sa.Column("created_at", WHEN, nullable=False),
    sa.Index("webhook_secrets_endpoint_id_idx", "endpoint_id", "created_at"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("endpoint_id", ID, sa.ForeignKey("webhook_endpoints.id"), nullable=False),
    # the event; no foreign key, for whoever shortens the trail need not ask here
    sa.Column("audit_id", sa.BigInteger, nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_status", sa.Integer),
    sa.Column("last_duration_ms", sa.Integer),
    sa.Column("last_answer", sa.Text),
    sa.Column("last_error", sa.Text),
    *timestamps(),
    sa.UniqueConstraint("endpoint_id", "audit_id"),
    sa.Index("deliveries_created_at_id_idx", "created_at", "id"),
    sa.Index("deliveries_over_idx", "updated_at", postgresql_where=sa.text("status <> 'pending'")),
)

delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("delivery_id", ID, sa.ForeignKey("deliveries.id"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("status", sa.Integer),
    sa.Column("duration_ms", sa.Integer, nullable=False),
    sa.Column("answer", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("ended_at", WHEN, nullable=False),
)
