"""Booking sites outside, and what lets customers in there."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, JSONB

from app.tables.columns import ID, WHEN, metadata, timestamps

providers = sa.Table(
    "providers",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("adapter", sa.Text, nullable=False),
    sa.Column("settings", JSONB, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("booking_window_days", sa.Integer),
    sa.Column("opens_at_local", sa.Time, nullable=False),
    sa.Column("is_enabled", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    *timestamps(),
)

provider_credentials = sa.Table(
    "provider_credentials",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("provider", sa.Text, sa.ForeignKey("providers.name"), nullable=False),
    sa.Column("customer_id", ID, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("nonce", BYTEA, nullable=False),
    sa.Column("ciphertext", BYTEA, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("checked_at", WHEN),
    sa.Column("check_detail", sa.Text),
    # of the secret: a check or a change of keys is no new one
    sa.Column("version", sa.Integer, nullable=False),
    *timestamps(),
    sa.UniqueConstraint("provider", "customer_id"),
    sa.Index("provider_credentials_customer_id_idx", "customer_id"),
    sa.Index("provider_credentials_created_at_id_idx", "created_at", "id"),
)
