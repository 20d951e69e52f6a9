-- Promises: a job that did not get done waits for its next attempt, later each time; or ends, where attempts are used up,
-- somebody asked for that, or another of its key is pending. Answers 'ok' or 'cancelled'.
-- Called by settle_jobs, which has it locked and knows that it is held.
CREATE OR REPLACE FUNCTION return_job(
  p_job_id uuid, p_outcome text, p_error_message text, p_run_at timestamptz, p_now timestamptz DEFAULT now()
)
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job jobs := (SELECT j FROM jobs j WHERE j.id = p_job_id);
  -- given back, it was no attempt
  v_is_given_back boolean := p_outcome IN ('snoozed', 'released');
BEGIN
  IF v_job.cancel_requested_at IS NOT NULL THEN
    RETURN end_job(p_job_id, 'cancelled', p_error_message, p_now);
  ELSIF v_job.attempt >= v_job.max_attempts AND NOT v_is_given_back THEN
    PERFORM end_job(p_job_id, 'discarded', p_error_message, p_now);
    RETURN 'ok';
  END IF;

  UPDATE jobs j
  SET status = 'pending',
      leased_until = NULL,
      attempt = j.attempt - v_is_given_back::integer,
      run_at = CASE
        WHEN p_outcome = 'released' THEN j.run_at
        WHEN v_is_given_back THEN p_run_at
        ELSE GREATEST(p_run_at, p_now + retry_delay(j.attempt))
      END,
      error_message = COALESCE(left(p_error_message, 2000), j.error_message),
      updated_at = p_now
  WHERE j.id = p_job_id;
  RETURN 'ok';
EXCEPTION
  WHEN unique_violation THEN
    RETURN end_job(p_job_id, 'cancelled', 'superseded by another that is pending', p_now);
END
$$
