-- Promises: a job's status takes only steps that the engine knows, whoever writes, and no token is given twice.
-- Called by trigger jobs_guard_update for all others. Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION jobs_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
    DETAIL = json_build_object(
      'job_id', OLD.id, 'from', OLD.status, 'to', NEW.status,
      'from_token', OLD.lease_token, 'to_token', NEW.lease_token
    );
END
$$
