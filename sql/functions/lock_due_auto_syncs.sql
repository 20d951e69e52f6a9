-- Promises: the auto-syncs that have a due job of this type, by due time, locked; those that others hold are passed by.
-- Called by remind_due_auto_syncs and pause_due_auto_syncs. Locks: auto-syncs, SKIP LOCKED.
CREATE OR REPLACE FUNCTION lock_due_auto_syncs(p_job_type text, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS uuid[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_locked uuid[];
BEGIN
  v_locked := ARRAY(
    SELECT a.id
    FROM jobs j
    JOIN auto_syncs a ON a.id = j.dedupe_key::uuid
    WHERE j.job_type = p_job_type AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
      AND a.status = 'running'
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF a SKIP LOCKED
  );
  -- what it waits for may have changed before it was locked
  RETURN ARRAY(
    SELECT l.id
    FROM unnest(v_locked) l (id)
    JOIN jobs j ON j.dedupe_key = l.id::text AND j.job_type = p_job_type
    WHERE j.status = 'pending' AND j.run_at <= p_now
  );
END
$$
