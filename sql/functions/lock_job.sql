-- Promises: the job's row, locked until the transaction ends. Called by cancel_job and retry_job. Locks: job.
-- Raises: SB021 job_not_found.
CREATE OR REPLACE FUNCTION lock_job(p_job_id uuid)
RETURNS jobs
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job jobs;
BEGIN
  SELECT * INTO v_job FROM jobs j WHERE j.id = p_job_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'job_not_found' USING ERRCODE = 'SB021', DETAIL = json_build_object('job_id', p_job_id);
  END IF;
  RETURN v_job;
END
$$
