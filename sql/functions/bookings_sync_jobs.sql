-- Promises: a confirmed booking has one pending job that completes it at its end, a hold has one that expires it,
-- any other booking has none, and is reminded of no more. Called by triggers bookings_sync_jobs_on_insert and _on_update,
-- whoever writes. Locks: jobs of this booking. No NOTIFY: it would serialise commits.
CREATE OR REPLACE FUNCTION bookings_sync_jobs()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_wanted text := CASE NEW.status WHEN 'confirmed' THEN 'complete_booking' WHEN 'pending' THEN 'expire_booking' END;
  v_due_at timestamptz := CASE NEW.status WHEN 'confirmed' THEN NEW.ends_at ELSE NEW.expires_at END;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    UPDATE jobs j
    SET
      -- a job whose booking got where it was to be taken is done; one whose booking went elsewhere is moot
      status = CASE
        WHEN j.job_type = 'complete_booking' AND NEW.status = 'completed' THEN 'processed'
        WHEN j.job_type = 'expire_booking' AND NEW.status = 'expired' THEN 'processed'
        ELSE 'cancelled'
      END,
      processed_at = NEW.updated_at,
      updated_at = NEW.updated_at
    WHERE j.dedupe_key = NEW.id::text AND j.status = 'pending' AND j.job_type IS DISTINCT FROM v_wanted
      AND (j.job_type <> 'remind_booking' OR NEW.status <> 'confirmed');
  END IF;

  IF v_wanted IS NOT NULL THEN
    INSERT INTO jobs AS j (job_type, dedupe_key, booking_id, scheduled_at, run_at, created_at, updated_at)
    VALUES (v_wanted, NEW.id::text, NEW.id, v_due_at, v_due_at, NEW.updated_at, NEW.updated_at)
    ON CONFLICT (job_type, dedupe_key) WHERE status = 'pending' DO UPDATE
      SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at;
  END IF;
  RETURN NULL;
END
$$
