-- Promises: a confirmed booking has one pending job, due at the next of its schedule's reminders, or none where none is to
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
$$
