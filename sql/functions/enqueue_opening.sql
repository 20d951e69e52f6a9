-- Promises: a job runs the openings of the prebooking's resource when it opens: one for all that open then.
-- Called by prebookings_sync_jobs and sweep_prebookings.
CREATE OR REPLACE FUNCTION enqueue_opening(p_prebooking prebookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM enqueue_job(
    'run_openings',
    jsonb_build_object('resource_id', p_prebooking.resource_id),
    p_prebooking.opens_at,
    prebooking_job_key(p_prebooking),
    'openings',
    0,
    p_now => p_now
  );
END
$$
