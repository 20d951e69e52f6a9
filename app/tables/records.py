"""What is kept of what was done, and the keys of those who may."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, INET, JSONB

from app.tables.columns import ID, WHEN, XID8, metadata

# in partitions by `created_at`; no index is the whole table's, each partition has its own (docs/decisions/0039)
audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
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
    # of an event: which transaction it came with
    sa.Column("xid", XID8),
    # where it stands in the chain of its subject; absent in rows from before there were chains
    sa.Column("position", sa.Integer),
    sa.Column("prev_hash", BYTEA),
    sa.Column("hash", BYTEA),
    # what the hash is made of in place of address and user agent: the salt while they are kept, then their salted hash
    sa.Column("address_salt", BYTEA),
    sa.Column("address_hash", BYTEA),
    postgresql_partition_by="RANGE (created_at)",
)

# where the chain of each subject ends
audit_chains = sa.Table(
    "audit_chains",
    metadata,
    sa.Column("subject_type", sa.Text, primary_key=True),
    sa.Column("subject_id", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("hash", BYTEA, nullable=False),
)

# up to which subject the ends of chains from before that table are noted in it; empty when all are
audit_backfill = sa.Table(
    "audit_backfill",
    metadata,
    sa.Column("subject_type", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Text, nullable=False),
)

# what went with a month, as links of chains: from one position to another, chained to what, and the last hash
audit_dropped = sa.Table(
    "audit_dropped",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("subject_type", sa.Text, primary_key=True),
    sa.Column("subject_id", sa.Text, primary_key=True),
    sa.Column("first_position", sa.Integer, primary_key=True),
    sa.Column("prev_hash", BYTEA),
    sa.Column("last_position", sa.Integer, nullable=False),
    sa.Column("hash", BYTEA, nullable=False),
)

audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("up_to", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("statement", sa.Text, nullable=False),
    sa.Column("signature", BYTEA),
    sa.Column("created_at", WHEN, nullable=False),
)

# of each subject that changed since the checkpoint before, its last row
audit_heads = sa.Table(
    "audit_heads",
    metadata,
    sa.Column("checkpoint", sa.Integer, sa.ForeignKey("audit_checkpoints.number"), primary_key=True),
    sa.Column("subject_type", sa.Text, primary_key=True),
    sa.Column("subject_id", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("hash", BYTEA, nullable=False),
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
    sa.Column("expires_at", WHEN),
    sa.Column("last_used_at", WHEN),
)

# the secret addresses under which calendar apps read a calendar: a resource's or a customer's
calendar_feeds = sa.Table(
    "calendar_feeds",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("resource_id", ID, sa.ForeignKey("resources.id")),
    sa.Column("customer_id", ID, sa.ForeignKey("customers.id")),
    sa.Column("token_hash", BYTEA, nullable=False, unique=True),
    sa.Column("created_at", WHEN, nullable=False),
    sa.Column("revoked_at", WHEN),
    sa.Index("calendar_feeds_resource_id_idx", "resource_id", postgresql_where=sa.text("resource_id IS NOT NULL")),
    sa.Index("calendar_feeds_customer_id_idx", "customer_id", postgresql_where=sa.text("customer_id IS NOT NULL")),
)

# of each minute's rate limit: until when its spending reaches, were it spent evenly
rate_limits = sa.Table(
    "rate_limits",
    metadata,
    sa.Column("principal", sa.Text, primary_key=True),
    sa.Column("policy", sa.Text, primary_key=True),
    sa.Column("spent_until", WHEN, nullable=False),
    prefixes=["UNLOGGED"],
)
