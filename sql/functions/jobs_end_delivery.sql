-- Promises: a delivery whose job is over without it has failed, or is cancelled where nothing was to be sent any more.
-- Called by trigger jobs_end_delivery, whoever ends the job. Locks: delivery.
CREATE OR REPLACE FUNCTION jobs_end_delivery()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  UPDATE deliveries d
  SET status = CASE NEW.status WHEN 'discarded' THEN 'failed' ELSE 'cancelled' END, updated_at = NEW.updated_at
  WHERE d.id = NEW.dedupe_key::uuid AND d.status = 'pending'
    -- another that waits in its place will see to it
    AND NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = NEW.dedupe_key AND j.job_type = NEW.job_type AND j.status = 'pending'
    );
  RETURN NULL;
END
$$
