"""Completing settles jobs in one go, and a new booking calls no reminder off.

Revision ID: 0042
Revises: 0041
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/arm_reminder",
        r"""-- Promises: a confirmed booking has one pending job, due at the next of its schedule's reminders, or none where none is to
-- come. Called by bookings_sync_reminders, put_schedule and remind_due_bookings, which hold the booking's row or have just
-- written it. Locks: the booking's job.
CREATE OR REPLACE FUNCTION arm_reminder(p_booking bookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due_at timestamptz := (
    SELECT min(p_booking.starts_at - make_interval(mins => m))
    FROM schedules c
    CROSS JOIN unnest(c.reminder_minutes) AS m
    WHERE c.resource_id = p_booking.resource_id AND p_booking.starts_at - make_interval(mins => m) > p_now
  );
BEGIN
  IF v_due_at IS NULL THEN
    UPDATE jobs j
    SET status = 'cancelled', processed_at = p_now, updated_at = p_now
    WHERE j.dedupe_key = p_booking.id::text AND j.job_type = 'remind_booking' AND j.status = 'pending';
  ELSE
    INSERT INTO jobs AS j (job_type, dedupe_key, booking_id, scheduled_at, run_at, created_at, updated_at)
    VALUES ('remind_booking', p_booking.id::text, p_booking.id, v_due_at, v_due_at, p_now, p_now)
    ON CONFLICT (dedupe_key, job_type) WHERE status = 'pending' DO UPDATE
      SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at
      WHERE j.run_at <> EXCLUDED.run_at;
  END IF;
END
$$""",
        r"""-- Promises: a confirmed booking has one pending job, due at the next of its schedule's reminders, or none where none is to
-- come. Called by bookings_sync_reminders, put_schedule and remind_due_bookings, which hold the booking's row or have just
-- written it. Locks: the booking's job.
CREATE OR REPLACE FUNCTION arm_reminder(p_booking bookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due_at timestamptz := (
    SELECT min(p_booking.starts_at - make_interval(mins => m))
    FROM schedules c
    CROSS JOIN unnest(c.reminder_minutes) AS m
    WHERE c.resource_id = p_booking.resource_id AND p_booking.starts_at - make_interval(mins => m) > p_now
  );
BEGIN
  IF v_due_at IS NULL THEN
    UPDATE jobs j
    SET status = 'cancelled', processed_at = p_now, updated_at = p_now
    -- not by equality, or in a new database all jobs of the type may be read to find one
    WHERE j.dedupe_key = p_booking.id::text AND j.job_type IS NOT DISTINCT FROM 'remind_booking' AND j.status = 'pending';
  ELSE
    INSERT INTO jobs AS j (job_type, dedupe_key, booking_id, scheduled_at, run_at, created_at, updated_at)
    VALUES ('remind_booking', p_booking.id::text, p_booking.id, v_due_at, v_due_at, p_now, p_now)
    ON CONFLICT (dedupe_key, job_type) WHERE status = 'pending' DO UPDATE
      SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at
      WHERE j.run_at <> EXCLUDED.run_at;
  END IF;
END
$$""",
    ),
    Change(
        "functions/bookings_sync_reminders",
        r"""-- Promises: a booking that is confirmed or moved is reminded of at its own time. One that ends loses its reminder in
-- bookings_sync_jobs. Called by triggers bookings_sync_reminders_on_insert and _on_update, whoever writes. Locks: its job.
CREATE OR REPLACE FUNCTION bookings_sync_reminders()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM arm_reminder(NEW, NEW.updated_at);
  RETURN NULL;
END
$$""",
        r"""-- Promises: a booking that is confirmed or moved is reminded of at its own time. One that ends loses its reminder in
-- bookings_sync_jobs. Called by triggers bookings_sync_reminders_on_insert and _on_update, whoever writes. Locks: its job.
CREATE OR REPLACE FUNCTION bookings_sync_reminders()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  -- a new booking has none that could be called off
  IF TG_OP = 'UPDATE' OR EXISTS (
    SELECT FROM schedules c WHERE c.resource_id = NEW.resource_id AND cardinality(c.reminder_minutes) > 0
  ) THEN
    PERFORM arm_reminder(NEW, NEW.updated_at);
  END IF;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/complete_due_bookings",
        r"""-- Promises: confirmed bookings whose end has passed become completed, each once, however many callers run at once.
-- Called by the job processor. Picks by job, oldest first; the jobs settle by trigger in the same transaction.
-- Locks: bookings alone, SKIP LOCKED: it waits for no customer, and holds nothing of a booking it passed by.
CREATE OR REPLACE FUNCTION complete_due_bookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_completed integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  WITH due AS MATERIALIZED (
    SELECT b.id
    FROM jobs j
    JOIN bookings b ON b.id = j.booking_id
    WHERE j.job_type = 'complete_booking' AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
      AND b.status = 'confirmed' AND b.ends_at <= p_now
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF b SKIP LOCKED
  )
  UPDATE bookings b
  SET status = 'completed', updated_at = p_now
  FROM due
  WHERE b.id = due.id;
  GET DIAGNOSTICS v_completed = ROW_COUNT;
  RETURN v_completed;
END
$$""",
        r"""-- Promises: confirmed bookings whose end has passed become completed, each once, however many callers run at once.
-- Called by the job processor. Picks by job, oldest first, and settles the jobs in one go; what else is pending of a booking, the
-- trigger settles. Locks: bookings, SKIP LOCKED, then their jobs: it waits for no customer, and holds nothing of a booking it
-- passed by.
CREATE OR REPLACE FUNCTION complete_due_bookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_completed integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  WITH due AS MATERIALIZED (
    SELECT b.id, j.id AS job_id
    FROM jobs j
    JOIN bookings b ON b.id = j.booking_id
    WHERE j.job_type = 'complete_booking' AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
      AND b.status = 'confirmed' AND b.ends_at <= p_now
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF b SKIP LOCKED
  ), settled AS (
    -- the trigger would do it too, one by one, at ten times the price
    UPDATE jobs j
    SET status = 'processed', processed_at = p_now, updated_at = p_now
    FROM due
    WHERE j.id = due.job_id AND j.status = 'pending'
  )
  UPDATE bookings b
  SET status = 'completed', updated_at = p_now
  FROM due
  WHERE b.id = due.id;
  GET DIAGNOSTICS v_completed = ROW_COUNT;
  RETURN v_completed;
END
$$""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
