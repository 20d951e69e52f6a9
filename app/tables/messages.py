"""What customers are told, over which channels, and who wants no SMS."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA

from app.tables.columns import ID, WHEN, metadata, timestamps

message_channels = sa.Table(
    "message_channels",
    metadata,
    # one that is not here is not enabled
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("is_enabled", sa.Boolean, nullable=False),
    sa.Column("updated_at", WHEN, nullable=False),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("customer_id", ID, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("subject_type", sa.Text, nullable=False),
    sa.Column("subject_id", ID, nullable=False),
    # what it says of a booking, and is true no more where the booking says otherwise
    sa.Column("told_status", sa.Text, nullable=False),
    sa.Column("told_starts_at", WHEN),
    sa.Column("dedupe_key", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("language", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Column("provider_ref", sa.Text),
    sa.Column("sending_at", WHEN),
    sa.Column("sent_at", WHEN),
    *timestamps(),
    sa.UniqueConstraint("dedupe_key", "channel"),
    sa.Index("messages_created_at_id_idx", "created_at", "id"),
    sa.Index("messages_customer_id_idx", "customer_id", "created_at", "id"),
    sa.Index("messages_live_idx", "created_at", postgresql_where=sa.text("status IN ('pending', 'sending')")),
)

sms_opt_outs = sa.Table(
    "sms_opt_outs",
    metadata,
    # of the number in E.164
    sa.Column("number_hash", BYTEA, primary_key=True),
    sa.Column("created_at", WHEN, nullable=False),
)
