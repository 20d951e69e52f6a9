-- Promises: every running auto-sync has its job, whatever took it away, such as taking the feature back for a while. Answers
-- how many got one, at most p_limit. Called by backfill_jobs. Locks: auto-syncs, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION backfill_auto_sync_jobs(p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_syncs auto_syncs[];
BEGIN
  v_syncs := ARRAY(
    SELECT a
    FROM auto_syncs a
    WHERE a.status = 'running' AND NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = a.id::text AND j.status = 'pending' AND j.job_type = auto_sync_job_type(a)
    )
    LIMIT p_limit
    FOR NO KEY UPDATE OF a SKIP LOCKED
  );
  PERFORM arm_auto_sync(a, p_now) FROM unnest(v_syncs) a;
  RETURN cardinality(v_syncs);
END
$$
