-- Promises: the type of the one job that an auto-sync waits for, or null where it waits for none.
-- Called by auto_syncs_sync_jobs, arm_auto_sync, backfill_auto_sync_jobs and check_invariants.
CREATE OR REPLACE FUNCTION auto_sync_job_type(p_sync auto_syncs)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN (p_sync).status <> 'running' THEN NULL
  WHEN (p_sync).reminded_at IS NULL THEN 'auto_sync_reminder'
  ELSE 'auto_sync_pause_check'
END
