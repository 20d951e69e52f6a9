-- Promises: a job that was being run is over, as this status says, which it answers. Called by return_job.
CREATE OR REPLACE FUNCTION end_job(
  p_job_id uuid, p_status text, p_error_message text, p_now timestamptz DEFAULT now()
)
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  UPDATE jobs j
  SET status = p_status,
      leased_until = NULL,
      processed_at = p_now,
      error_message = left(p_error_message, 2000),
      updated_at = p_now
  WHERE j.id = p_job_id;
  RETURN p_status;
END
$$
