-- Promises: the job that a running auto-sync waits for is pending, once, and due when its times say.
-- Called by auto_syncs_sync_jobs and backfill_auto_sync_jobs. Locks: the auto-sync's job.
CREATE OR REPLACE FUNCTION arm_auto_sync(p_sync auto_syncs, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job_type text := auto_sync_job_type(p_sync);
  v_due_at timestamptz := COALESCE(p_sync.resumed_at, p_sync.started_at)
    + CASE v_job_type WHEN 'auto_sync_reminder' THEN p_sync.reminder_after ELSE p_sync.pause_after END;
BEGIN
  IF v_job_type IS NOT NULL THEN
    INSERT INTO jobs AS j (job_type, dedupe_key, scheduled_at, run_at, created_at, updated_at)
    VALUES (v_job_type, p_sync.id::text, v_due_at, v_due_at, p_now, p_now)
    ON CONFLICT (dedupe_key, job_type) WHERE status = 'pending' DO UPDATE
      SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at
      WHERE j.run_at <> EXCLUDED.run_at;
  END IF;
END
$$
