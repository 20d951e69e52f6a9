"""Booking sites outside, what lets customers in there, and what is to be booked when booking opens."""

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

prebookings = sa.Table(
    "prebookings",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("place_in_line", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("customer_id", ID, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("resource_id", ID, sa.ForeignKey("resources.id")),
    sa.Column("provider", sa.Text, sa.ForeignKey("providers.name")),
    # what is wanted, best first; at a resource also as instants
    sa.Column("targets", JSONB, nullable=False),
    sa.Column("target", JSONB, sa.Computed("targets -> 0", persisted=True)),
    sa.Column("starts_at", sa.ARRAY(WHEN)),
    sa.Column("units", sa.Integer, nullable=False),
    sa.Column("payment_method", sa.Text, nullable=False),
    sa.Column("join_waitlist", sa.Boolean, nullable=False),
    sa.Column("opens_at", WHEN, nullable=False),
    sa.Column("is_opening_given", sa.Boolean, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("booked_choice", sa.Integer),
    sa.Column("booking_id", ID, sa.ForeignKey("bookings.id")),
    sa.Column("confirmation", sa.Text),
    sa.Column("waitlist_entry_id", ID, sa.ForeignKey("waitlist_entries.id")),
    sa.Column("reason", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Column("needs_attention", sa.Boolean, nullable=False),
    sa.Column("fired_at", WHEN),
    sa.Column("lateness_ms", sa.Integer),
    sa.Column("version", sa.Integer, nullable=False),
    *timestamps(),
    sa.Index(
        "prebookings_resource_chance_key",
        *("customer_id", "resource_id", "target"),
        unique=True,
        postgresql_where=sa.text("status IN ('pending', 'executing') AND resource_id IS NOT NULL"),
    ),
    sa.Index(
        "prebookings_provider_chance_key",
        *("customer_id", "provider", "target"),
        unique=True,
        postgresql_where=sa.text("status IN ('pending', 'executing') AND provider IS NOT NULL"),
    ),
    sa.Index("prebookings_pending_idx", "resource_id", "opens_at", postgresql_where=sa.text("status = 'pending'")),
    sa.Index("prebookings_live_idx", "opens_at", postgresql_where=sa.text("status IN ('pending', 'executing')")),
    sa.Index(
        "prebookings_opening_idx",
        *("provider", "opens_at", "place_in_line"),
        postgresql_where=sa.text("provider IS NOT NULL"),
    ),
    sa.Index("prebookings_customer_id_idx", "customer_id", "created_at", "id"),
    sa.Index("prebookings_created_at_id_idx", "created_at", "id"),
    sa.Index("prebookings_booking_id_idx", "booking_id", postgresql_where=sa.text("booking_id IS NOT NULL")),
    sa.Index(
        "prebookings_answers_idx",
        "updated_at",
        postgresql_where=sa.text(
            "status IN ('succeeded', 'failed', 'cancelled') AND (detail IS NOT NULL OR confirmation IS NOT NULL)"
        ),
    ),
)

prebooking_attempts = sa.Table(
    "prebooking_attempts",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("prebooking_id", ID, sa.ForeignKey("prebookings.id"), nullable=False),
    sa.Column("choice", sa.Integer, nullable=False),
    # absent until an answer came, or it is clear that none will
    sa.Column("finding", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Column("confirmation", sa.Text),
    sa.Column("started_at", WHEN, nullable=False),
    sa.Column("fired_at", WHEN),
    sa.Column("ended_at", WHEN),
    sa.Index("prebooking_attempts_prebooking_id_idx", "prebooking_id", "id"),
    sa.Index(
        "prebooking_attempts_answers_idx",
        "started_at",
        postgresql_where=sa.text("detail IS NOT NULL OR confirmation IS NOT NULL"),
    ),
)

lottery_draws = sa.Table(
    "lottery_draws",
    metadata,
    sa.Column("resource_id", ID, sa.ForeignKey("resources.id"), primary_key=True),
    sa.Column("opens_at", WHEN, primary_key=True),
    sa.Column("seed", sa.Text, nullable=False),
    sa.Column("entries", sa.Integer, nullable=False),
    sa.Column("drawn_at", WHEN, nullable=False),
)
