-- Promises: one pending job refreshes the schedule again after the next midnight in the resource's zone; one that was
-- due is done. Called by refresh_future_schedule, so that the horizon rolls on by itself. Locks: the resource's job.
CREATE OR REPLACE FUNCTION arm_schedule_refresh(p_resource_id uuid, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_next timestamptz := (
    SELECT ((p_now AT TIME ZONE r.timezone)::date + 1)::timestamp AT TIME ZONE r.timezone
    FROM resources r WHERE r.id = p_resource_id
  );
BEGIN
  UPDATE jobs j
  SET status = 'processed', processed_at = p_now, updated_at = p_now
  WHERE j.dedupe_key = p_resource_id::text AND j.job_type = 'refresh_schedule' AND j.status = 'pending'
    AND j.run_at <= p_now;

  INSERT INTO jobs AS j (job_type, dedupe_key, scheduled_at, run_at, created_at, updated_at)
  VALUES ('refresh_schedule', p_resource_id::text, v_next, v_next, p_now, p_now)
  ON CONFLICT (job_type, dedupe_key) WHERE status = 'pending' DO UPDATE
    SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at
    WHERE j.run_at <> EXCLUDED.run_at;
END
$$
