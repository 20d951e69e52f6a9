"""Crews, what is proposed to them, and what each member answers."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.tables.columns import ID, WHEN, metadata, timestamps

crews = sa.Table(
    "crews",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("organizer_id", ID, sa.ForeignKey("customers.id")),
    sa.Column("metadata", JSONB, nullable=False),
    *timestamps(),
    sa.Index("crews_created_at_id_idx", "created_at", "id"),
    sa.Index("crews_organizer_id_idx", "organizer_id"),
)

crew_members = sa.Table(
    "crew_members",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("crew_id", ID, sa.ForeignKey("crews.id"), nullable=False),
    sa.Column("customer_id", ID, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("joined_at", WHEN, nullable=False),
    sa.Column("left_at", WHEN),
    sa.UniqueConstraint("crew_id", "customer_id"),
    sa.Index("crew_members_joined_at_id_idx", "crew_id", "joined_at", "id"),
    sa.Index("crew_members_customer_id_idx", "customer_id"),
)

auto_syncs = sa.Table(
    "auto_syncs",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("crew_id", ID, sa.ForeignKey("crews.id"), nullable=False),
    # who books
    sa.Column("organizer_id", ID, sa.ForeignKey("customers.id")),
    sa.Column("event_name", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("response_goal", sa.Text, nullable=False),
    sa.Column("goal_number", sa.Integer),
    sa.Column("goal_share", sa.Numeric),
    sa.Column("timezone", sa.Text, nullable=False),
    # both from the start, or from the last resuming on
    sa.Column("reminder_after", sa.Interval, nullable=False),
    sa.Column("pause_after", sa.Interval, nullable=False),
    sa.Column("resource_id", ID, sa.ForeignKey("resources.id")),
    sa.Column("units", sa.Integer, nullable=False),
    # how many of those who are asked have, and how often somebody did
    sa.Column("answered", sa.Integer, nullable=False),
    sa.Column("responses", sa.Integer, nullable=False),
    sa.Column("started_at", WHEN, nullable=False),
    sa.Column("reminded_at", WHEN),
    sa.Column("paused_at", WHEN),
    sa.Column("pause_reason", sa.Text),
    sa.Column("resumed_at", WHEN),
    sa.Column("completed_at", WHEN),
    sa.Column("winning_time_id", ID),
    sa.Column("booking_id", ID, sa.ForeignKey("bookings.id")),
    # why there is none
    sa.Column("booking_error", sa.Text),
    sa.Column("version", sa.Integer, nullable=False),
    *timestamps(),
    sa.Index("auto_syncs_created_at_id_idx", "created_at", "id"),
    sa.Index("auto_syncs_crew_id_idx", "crew_id", "created_at", "id"),
    sa.Index("auto_syncs_running_idx", "id", postgresql_where=sa.text("status = 'running'")),
)

auto_sync_times = sa.Table(
    "auto_sync_times",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("auto_sync_id", ID, sa.ForeignKey("auto_syncs.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("starts_at", WHEN, nullable=False),
    sa.Column("ends_at", WHEN, nullable=False),
    # no reference: a schedule may take its slot back, and then the time cannot be booked
    sa.Column("slot_id", ID),
    sa.UniqueConstraint("auto_sync_id", "position"),
)

auto_sync_participants = sa.Table(
    "auto_sync_participants",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("auto_sync_id", ID, sa.ForeignKey("auto_syncs.id"), nullable=False),
    sa.Column("customer_id", ID, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("is_named", sa.Boolean, nullable=False),
    sa.Column("answer", sa.Text),
    # those that suit
    sa.Column("time_ids", sa.ARRAY(ID), nullable=False),
    sa.Column("answered_at", WHEN),
    sa.Column("removed_at", WHEN),
    *timestamps(),
    sa.UniqueConstraint("auto_sync_id", "customer_id"),
    sa.Index("auto_sync_participants_customer_id_idx", "customer_id"),
)
