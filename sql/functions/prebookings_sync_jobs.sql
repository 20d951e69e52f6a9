-- Promises: a prebooking that waits has a job due when it opens, and at a provider one that looks at the credentials the
-- day before; one that was cancelled has none. Called by triggers prebookings_sync_jobs_on_insert and _on_update, whoever
-- writes. Locks: the prebooking's jobs. All of one opening at a resource are one job.
CREATE OR REPLACE FUNCTION prebookings_sync_jobs()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- for getting ready: the provider's clock, the log-in, the connection
  c_ahead CONSTANT interval := interval '4 seconds';
BEGIN
  IF NEW.status = 'pending' AND NEW.provider IS NULL THEN
    PERFORM enqueue_opening(NEW, NEW.updated_at);
  ELSIF NEW.status = 'pending' THEN
    PERFORM enqueue_job(
      'execute_prebooking',
      jsonb_build_object('prebooking_id', NEW.id),
      GREATEST(NEW.opens_at - c_ahead, NEW.updated_at),
      prebooking_job_key(NEW),
      provider_queue(NEW.provider),
      0,
      p_now => NEW.updated_at
    );
    PERFORM check_credentials_before(NEW);
  ELSIF NEW.status = 'cancelled' THEN
    UPDATE jobs j
    SET status = 'cancelled', processed_at = NEW.updated_at, updated_at = NEW.updated_at
    WHERE j.dedupe_key = prebooking_job_key(NEW) AND j.status = 'pending' AND j.job_type = 'execute_prebooking';
  END IF;
  RETURN NULL;
END
$$
