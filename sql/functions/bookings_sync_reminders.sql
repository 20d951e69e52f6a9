-- Promises: a booking that is confirmed or moved is reminded of at its own time. One that ends loses its reminder in
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
$$
