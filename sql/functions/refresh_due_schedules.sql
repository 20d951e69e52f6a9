-- Promises: schedules whose day is over reach to their horizon again. Answers how many it did, at most p_limit.
-- Called by the job processor, one a call: slots of one resource are locked by id, those of several would not be.
-- Locks: resources and schedules, SKIP LOCKED, then what refresh_future_schedule locks.
CREATE OR REPLACE FUNCTION refresh_due_schedules(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_resource_id uuid;
  v_refreshed integer := 0;
BEGIN
  FOR v_resource_id IN
    SELECT c.resource_id
    FROM jobs j
    JOIN schedules c ON c.resource_id::text = j.dedupe_key
    JOIN resources r ON r.id = c.resource_id
    WHERE j.job_type = 'refresh_schedule' AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF r, c SKIP LOCKED
  LOOP
    PERFORM refresh_future_schedule(p_actor, v_resource_id, p_now);
    v_refreshed := v_refreshed + 1;
  END LOOP;
  RETURN v_refreshed;
END
$$
