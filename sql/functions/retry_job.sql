-- Promises: a job that ended without getting done waits to be tried once more, at once. Its attempts go on counting.
-- Called by POST /v1/jobs/{id}/retry. Locks: job. Raises: SB021 job_not_found, SB007 invalid_transition (also where another
-- of its key is pending).
CREATE OR REPLACE FUNCTION retry_job(p_actor jsonb, p_job_id uuid, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job jobs := lock_job(p_job_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  BEGIN
    UPDATE jobs j
    SET status = 'pending',
        run_at = p_now,
        max_attempts = GREATEST(j.max_attempts, j.attempt + 1),
        processed_at = NULL,
        cancel_requested_at = NULL,
        updated_at = p_now
    WHERE j.id = p_job_id AND j.queue IS NOT NULL AND j.status IN ('discarded', 'skipped', 'cancelled');
    IF FOUND THEN
      RETURN get_job(p_job_id);
    END IF;
  EXCEPTION
    WHEN unique_violation THEN
      -- what was wanted is wanted again already
      NULL;
  END;
  RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
    DETAIL = json_build_object('job_id', p_job_id, 'job_type', v_job.job_type, 'from', v_job.status, 'to', 'pending');
END
$$
