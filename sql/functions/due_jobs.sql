-- Promises: how many jobs are due, and for how long the oldest has waited, in milliseconds.
-- Called by the job processor and `holdfast doctor`. Names the job types so that the index skips what lies in the future.
CREATE OR REPLACE FUNCTION due_jobs(p_now timestamptz DEFAULT now())
RETURNS TABLE (remaining_due bigint, oldest_due_age_ms bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT count(*), COALESCE((extract(epoch FROM p_now - min(j.run_at)) * 1000)::bigint, 0)
  FROM jobs j
  WHERE j.job_type IN ('complete_booking', 'expire_booking', 'refresh_schedule')
    AND j.status = 'pending' AND j.run_at <= p_now
$$
