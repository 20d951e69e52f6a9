-- Promises: runs of the processor and sessions of workers that nobody has heard of for p_keep are forgotten.
-- Called by the job processor. Locks: the runs it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_job_runs(
  p_limit integer, p_keep interval DEFAULT '3 days', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_pruned integer;
BEGIN
  DELETE FROM job_runs r
  WHERE r.instance_id = ANY (
    ARRAY(SELECT o.instance_id FROM job_runs o WHERE o.seen_at < p_now - p_keep LIMIT p_limit FOR UPDATE SKIP LOCKED)
  );
  GET DIAGNOSTICS v_pruned = ROW_COUNT;
  RETURN v_pruned;
END
$$
