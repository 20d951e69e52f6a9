-- Promises: how many milliseconds the oldest due job has waited, and how long ago somebody last came to do what is due;
-- NULL where nobody ever did. Called by GET /readyz/jobs, GET /metrics and `holdfast doctor`.
CREATE OR REPLACE FUNCTION jobs_heartbeat(p_now timestamptz DEFAULT now())
RETURNS TABLE (due bigint, oldest_due_age_ms bigint, last_run_age_ms bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT
    d.remaining_due,
    d.oldest_due_age_ms,
    (SELECT (extract(epoch FROM p_now - max(r.seen_at)) * 1000)::bigint FROM job_runs r)
  FROM due_jobs(p_now) d
$$
