-- Promises: that this target is about to be asked for is on record before anything is sent, by who holds the job and
-- nobody else. Answers the attempt's id. Called by the handler of execute_prebooking. Locks: job (shared).
-- Raises: SB020 lease_lost.
CREATE OR REPLACE FUNCTION begin_attempt(
  p_prebooking_id uuid, p_choice integer, p_job_id uuid, p_lease_token bigint, p_now timestamptz DEFAULT now()
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_attempt_id uuid;
BEGIN
  PERFORM FROM jobs j
  WHERE j.id = p_job_id AND j.lease_token = p_lease_token AND j.status = 'processing'
  FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'lease_lost' USING ERRCODE = 'SB020',
      DETAIL = json_build_object('job_id', p_job_id, 'lease_token', p_lease_token);
  END IF;
  INSERT INTO prebooking_attempts (prebooking_id, choice, started_at)
  VALUES (p_prebooking_id, p_choice, p_now)
  RETURNING id INTO v_attempt_id;
  RETURN v_attempt_id;
END
$$
