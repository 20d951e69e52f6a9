-- Promises: the key of the job that executes a prebooking; all of one opening at a resource are one job.
-- Called by prebookings_sync_jobs and sweep_prebookings. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION prebooking_job_key(p_prebooking prebookings)
RETURNS text
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN CASE
  WHEN (p_prebooking).provider IS NULL
  THEN (p_prebooking).resource_id || ' ' || extract(epoch FROM (p_prebooking).opens_at)
  ELSE (p_prebooking).id::text
END
