-- Promises: a running auto-sync has one pending job: its reminder, and once that has gone out its pause check, each due
-- from the start or the last resuming on; any other has none. Called by triggers auto_syncs_sync_jobs_on_insert and
-- _on_update, whoever writes. Locks: the auto-sync's jobs.
CREATE OR REPLACE FUNCTION auto_syncs_sync_jobs()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_wanted text := auto_sync_job_type(NEW);
BEGIN
  IF TG_OP = 'UPDATE' THEN
    UPDATE jobs j
    SET
      -- done, where it got the auto-sync where it is; else needed no more, or not wanted
      status = CASE
        WHEN j.job_type = 'auto_sync_reminder' AND OLD.reminded_at IS NULL AND NEW.reminded_at IS NOT NULL THEN 'processed'
        WHEN j.job_type = 'auto_sync_pause_check' AND NEW.pause_reason = 'goal_not_met' THEN 'processed'
        WHEN NEW.status = 'completed' THEN 'skipped'
        ELSE 'cancelled'
      END,
      processed_at = NEW.updated_at,
      updated_at = NEW.updated_at
    WHERE j.dedupe_key = NEW.id::text AND j.job_type IN ('auto_sync_reminder', 'auto_sync_pause_check')
      AND j.status = 'pending' AND j.job_type IS DISTINCT FROM v_wanted;
  END IF;
  PERFORM arm_auto_sync(NEW, NEW.updated_at);
  RETURN NULL;
END
$$
