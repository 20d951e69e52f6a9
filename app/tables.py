"""The schema on one page, for readers and for Alembic. A test holds it against the migrated database.

Nothing is queried through these tables: the runtime calls the functions in `sql/`. Checks, defaults and triggers live
in the migrations; here stand the columns, keys and indexes.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, INET, JSONB

metadata = sa.MetaData()

ID = sa.UUID(as_uuid=True)
WHEN = sa.TIMESTAMP(timezone=True)


def _timestamps() -> list[sa.Column[object]]:
    return [sa.Column("created_at", WHEN, nullable=False), sa.Column("updated_at", WHEN, nullable=False)]


resources = sa.Table(
    "resources",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("external_id", sa.Text, unique=True),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    *_timestamps(),
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
    *_timestamps(),
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
    *_timestamps(),
)

schedule_exceptions = sa.Table(
    "schedule_exceptions",
    metadata,
    sa.Column("resource_id", ID, sa.ForeignKey("resources.id"), primary_key=True),
    sa.Column("date", sa.Date, primary_key=True),
    sa.Column("hours", JSONB, nullable=False),
    *_timestamps(),
)

customers = sa.Table(
    "customers",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("ref", sa.Text, unique=True),
    sa.Column("name", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("phone", sa.Text),
    *_timestamps(),
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
    *_timestamps(),
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
    *_timestamps(),
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

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("dedupe_key", sa.Text, nullable=False),
    sa.Column("booking_id", ID),
    sa.Column("payload", JSONB, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("scheduled_at", WHEN, nullable=False),
    sa.Column("run_at", WHEN, nullable=False),
    sa.Column("processed_at", WHEN),
    *_timestamps(),
    # absent: the database does it by itself, many at a time
    sa.Column("queue", sa.Text),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("lease_token", sa.BigInteger, nullable=False),
    sa.Column("leased_by", sa.Text),
    sa.Column("leased_until", WHEN),
    sa.Column("attempted_at", WHEN),
    sa.Column("cancel_requested_at", WHEN),
    sa.Column("error_message", sa.Text),
    sa.Column("result", JSONB),
    sa.Index("jobs_pending_key", "dedupe_key", "job_type", unique=True, postgresql_where=sa.text("status = 'pending'")),
    sa.Index("jobs_due_idx", "job_type", "run_at", postgresql_where=sa.text("status = 'pending' AND queue IS NULL")),
    sa.Index(
        "jobs_claim_idx",
        *("queue", "priority", "run_at", "seq"),
        postgresql_where=sa.text("status = 'pending' AND queue IS NOT NULL"),
    ),
    sa.Index("jobs_running_idx", "queue", "id", postgresql_where=sa.text("status = 'processing'")),
    sa.Index("jobs_processed_at_idx", "processed_at", postgresql_where=sa.text("processed_at IS NOT NULL")),
)

job_attempts = sa.Table(
    "job_attempts",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("lease_token", sa.BigInteger, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("instance_id", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("error_message", sa.Text),
    sa.Column("started_at", WHEN, nullable=False),
    sa.Column("ended_at", WHEN, nullable=False),
)

job_queues = sa.Table(
    "job_queues",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("max_running", sa.Integer),
    sa.Column("stagger_ms", sa.Integer, nullable=False),
    sa.Column("paused_at", WHEN),
    sa.Column("resume_at", WHEN),
    sa.Column("pause_reason", sa.Text),
    *_timestamps(),
)

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
    *_timestamps(),
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
    *_timestamps(),
    sa.UniqueConstraint("provider", "customer_id"),
    sa.Index("provider_credentials_customer_id_idx", "customer_id"),
    sa.Index("provider_credentials_created_at_id_idx", "created_at", "id"),
)

job_runs = sa.Table(
    "job_runs",
    metadata,
    sa.Column("instance_id", sa.Text, primary_key=True),
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("report", JSONB, nullable=False),
    sa.Column("started_at", WHEN, nullable=False),
    sa.Column("seen_at", WHEN, nullable=False),
    sa.Column("ended_at", WHEN),
    sa.Index("job_runs_seen_at_idx", "seen_at"),
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("subject_type", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("action_type", sa.Text, nullable=False),
    sa.Column("old_values", JSONB),
    sa.Column("new_values", JSONB),
    sa.Column("hidden_changes", sa.ARRAY(sa.Text)),
    sa.Column("performed_by", sa.Text, nullable=False),
    sa.Column("performed_by_id", sa.Text, nullable=False),
    sa.Column("ip_address", INET),
    sa.Column("user_agent", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("created_at", WHEN, nullable=False),
    sa.Index("audit_log_subject_idx", "subject_type", "subject_id", "id"),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("principal", sa.Text, primary_key=True),
    sa.Column("operation", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_hash", BYTEA, nullable=False),
    sa.Column("response", sa.JSON, nullable=False),
    sa.Column("created_at", WHEN, nullable=False),
    sa.Index("idempotency_keys_created_at_idx", "created_at", postgresql_using="brin"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("key_hash", BYTEA, nullable=False, unique=True),
    sa.Column("scopes", sa.ARRAY(sa.Text), nullable=False),
    sa.Column("created_at", WHEN, nullable=False),
    sa.Column("revoked_at", WHEN),
)
