"""What is booked, by whom, by which rules, and who waits for it."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.tables.columns import ID, WHEN, metadata, timestamps

resources = sa.Table(
    "resources",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("external_id", sa.Text, unique=True),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    *timestamps(),
)

slots = sa.Table(
    "slots",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("resource_id", ID, sa.ForeignKey("resources.id"), nullable=False),
    sa.Column("starts_at", WHEN, nullable=False),
    sa.Column("ends_at", WHEN, nullable=False),
    sa.Column("max_bookings", sa.Integer, nullable=False),
    sa.Column("max_units", sa.Integer),
    sa.Column("booked_bookings", sa.Integer, nullable=False),
    sa.Column("booked_units", sa.Integer, nullable=False),
    sa.Column("is_legacy", sa.Boolean, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    *timestamps(),
    sa.UniqueConstraint("resource_id", "starts_at", "ends_at"),
    sa.UniqueConstraint("id", "resource_id", "starts_at", "ends_at"),
)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("resource_id", ID, sa.ForeignKey("resources.id"), primary_key=True),
    sa.Column("weekly", JSONB, nullable=False),
    sa.Column("slot_minutes", sa.Integer, nullable=False),
    sa.Column("max_bookings", sa.Integer, nullable=False),
    sa.Column("max_units", sa.Integer),
    sa.Column("horizon_days", sa.Integer, nullable=False),
    sa.Column("min_notice_minutes", sa.Integer, nullable=False),
    sa.Column("booking_window_days", sa.Integer),
    sa.Column("opens_at_local", sa.Time, nullable=False),
    sa.Column("cancel_cutoff_minutes", sa.Integer, nullable=False),
    sa.Column("hold_minutes", sa.Integer, nullable=False),
    sa.Column("offer_minutes", sa.Integer, nullable=False),
    sa.Column("max_bookings_per_customer", sa.Integer),
    sa.Column("version", sa.Integer, nullable=False),
    *timestamps(),
    sa.Column("opening_policy", sa.Text, nullable=False),
    sa.Column("reminder_minutes", sa.ARRAY(sa.Integer), nullable=False),
)

schedule_exceptions = sa.Table(
    "schedule_exceptions",
    metadata,
    sa.Column("resource_id", ID, sa.ForeignKey("resources.id"), primary_key=True),
    sa.Column("date", sa.Date, primary_key=True),
    sa.Column("hours", JSONB, nullable=False),
    *timestamps(),
)

customers = sa.Table(
    "customers",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("ref", sa.Text, unique=True),
    sa.Column("name", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("phone", sa.Text),
    *timestamps(),
    sa.Column("language", sa.Text),
    sa.Column("timezone", sa.Text),
    sa.Column("email_opt_out", sa.Boolean, nullable=False),
    sa.Column("sms_opt_out", sa.Boolean, nullable=False),
    # while it is there, nobody erases the customer
    sa.Column("legal_hold_since", WHEN),
    sa.Column("legal_hold_reason", sa.Text),
    sa.Column("erased_at", WHEN),
    sa.Index("customers_created_at_id_idx", "created_at", "id", postgresql_where=sa.text("erased_at IS NULL")),
    sa.Index(
        "customers_email_idx",
        sa.text("lower(email)"),
        "created_at",
        "id",
        postgresql_where=sa.text("email IS NOT NULL"),
    ),
    sa.Index("customers_phone_idx", "phone", "created_at", "id", postgresql_where=sa.text("phone IS NOT NULL")),
)

booking_transitions = sa.Table(
    "booking_transitions",
    metadata,
    sa.Column("from_status", sa.Text, primary_key=True),
    sa.Column("to_status", sa.Text, primary_key=True),
)

bookings = sa.Table(
    "bookings",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("reference", sa.Text, nullable=False, unique=True),
    sa.Column("resource_id", ID, nullable=False),
    sa.Column("slot_id", ID, nullable=False),
    sa.Column("starts_at", WHEN, nullable=False),
    sa.Column("ends_at", WHEN, nullable=False),
    sa.Column("customer_id", ID, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("units", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column(
        "holds_place",
        sa.Boolean,
        sa.Computed("status IN ('pending', 'confirmed', 'completed', 'no_show')", persisted=True),
        nullable=False,
    ),
    sa.Column("payment_method", sa.Text, nullable=False),
    sa.Column("payment_status", sa.Text, nullable=False),
    sa.Column("expires_at", WHEN),
    sa.Column("external_id", sa.Text),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("placed_at", WHEN, nullable=False),
    *timestamps(),
    sa.ForeignKeyConstraint(
        ["slot_id", "resource_id", "starts_at", "ends_at"],
        ["slots.id", "slots.resource_id", "slots.starts_at", "slots.ends_at"],
        onupdate="CASCADE",
    ),
    sa.Index(
        "bookings_external_id_key", "external_id", unique=True, postgresql_where=sa.text("external_id IS NOT NULL")
    ),
    sa.Index("bookings_slot_id_idx", "slot_id"),
    sa.Index("bookings_holds_idx", "slot_id", "expires_at", postgresql_where=sa.text("expires_at IS NOT NULL")),
    sa.Index("bookings_lapsed_idx", "resource_id", "expires_at", postgresql_where=sa.text("expires_at IS NOT NULL")),
    sa.Index("bookings_starts_at_id_idx", "starts_at", "id"),
    sa.Index("bookings_resource_id_starts_at_id_idx", "resource_id", "starts_at", "id"),
    sa.Index("bookings_customer_id_starts_at_id_idx", "customer_id", "starts_at", "id"),
    sa.Index(
        "bookings_metadata_idx",
        "metadata",
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
        postgresql_where=sa.text("metadata <> '{}'"),
    ),
)

waitlist_entries = sa.Table(
    "waitlist_entries",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("place_in_line", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("slot_id", ID, sa.ForeignKey("slots.id"), nullable=False),
    sa.Column("customer_id", ID, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("units", sa.Integer, nullable=False),
    sa.Column("payment_method", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("booking_id", ID, sa.ForeignKey("bookings.id")),
    *timestamps(),
    sa.Index(
        "waitlist_entries_live_key",
        "slot_id",
        "customer_id",
        unique=True,
        postgresql_where=sa.text("status IN ('waiting', 'offered')"),
    ),
    sa.Index("waitlist_entries_line_idx", "slot_id", "place_in_line", postgresql_where=sa.text("status = 'waiting'")),
    sa.Index("waitlist_entries_booking_id_idx", "booking_id", postgresql_where=sa.text("booking_id IS NOT NULL")),
    sa.Index("waitlist_entries_customer_id_idx", "customer_id"),
)

payment_events = sa.Table(
    "payment_events",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("booking_id", ID),
    sa.Column("payment_status", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("created_at", WHEN, nullable=False),
)
