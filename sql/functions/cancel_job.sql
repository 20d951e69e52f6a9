-- Promises: a job that waits will not run; one that runs is asked to stop, and does not run again.
-- Called by POST /v1/jobs/{id}/cancel. Locks: job. Raises: SB021 job_not_found, SB007 invalid_transition.
CREATE OR REPLACE FUNCTION cancel_job(p_actor jsonb, p_job_id uuid, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job jobs := lock_job(p_job_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF v_job.queue IS NULL OR v_job.status NOT IN ('pending', 'processing') THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object(
        'job_id', p_job_id, 'job_type', v_job.job_type, 'from', v_job.status, 'to', 'cancelled'
      );
  END IF;

  UPDATE jobs j
  SET status = CASE j.status WHEN 'pending' THEN 'cancelled' ELSE j.status END,
      processed_at = CASE j.status WHEN 'pending' THEN p_now END,
      cancel_requested_at = COALESCE(j.cancel_requested_at, p_now),
      updated_at = p_now
  WHERE j.id = p_job_id;
  RETURN get_job(p_job_id);
END
$$
