-- Promises: jobs that got done, or were not wanted, are forgotten after p_keep, those that failed after p_keep_discarded,
-- with their attempts; at most p_limit a call. Called by the job processor. Locks: the jobs it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_jobs(
  p_limit integer,
  p_keep interval DEFAULT '3 days',
  p_keep_discarded interval DEFAULT '30 days',
  p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_old uuid[];
BEGIN
  v_old := ARRAY(
    SELECT j.id
    FROM jobs j
    WHERE j.processed_at IS NOT NULL AND j.processed_at < p_now - p_keep
      AND (j.status <> 'discarded' OR j.processed_at < p_now - p_keep_discarded)
    ORDER BY j.processed_at
    LIMIT p_limit
    FOR UPDATE SKIP LOCKED
  );
  DELETE FROM job_attempts a WHERE a.job_id = ANY (v_old);
  DELETE FROM jobs j WHERE j.id = ANY (v_old);
  RETURN cardinality(v_old);
END
$$
