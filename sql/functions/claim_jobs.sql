-- Promises: due jobs of a queue, each leased to this caller alone, under a token no earlier holder has; by priority, then
-- due time. A quarter of the room goes first to what has waited a minute, so that no priority starves another.
-- Called by the processor and the worker. Locks: queue (if it has a limit), jobs, SKIP LOCKED.
CREATE OR REPLACE FUNCTION claim_jobs(
  p_instance_id text, p_queue text, p_limit integer, p_lease interval, p_now timestamptz DEFAULT now()
)
RETURNS TABLE (
  id uuid, job_type text, payload jsonb, attempt integer, max_attempts integer, lease_token bigint, booking_id uuid,
  scheduled_at timestamptz
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- one plan, by the claim's own index, whatever the statistics of a table that fills and empties say
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = 'off'
SET enable_bitmapscan = 'off'
AS $$
DECLARE
  v_room integer := LEAST(p_limit, queue_room(p_queue, p_now));
  -- in the mean a quarter, also of very little
  v_aged integer := floor(v_room * 0.25 + random());
  v_step record;
  v_claimed integer;
BEGIN
  FOR v_step IN
    SELECT s.priority, s.is_aged
    FROM (VALUES (3, true), (2, true), (1, true), (0, false), (1, false), (2, false), (3, false)) s (priority, is_aged)
    -- of those that have waited, whoever has for longest
    ORDER BY
      s.is_aged DESC,
      CASE WHEN s.is_aged THEN (
        SELECT min(d.run_at) FROM jobs d WHERE d.queue = p_queue AND d.priority = s.priority AND d.status = 'pending'
      ) END,
      s.priority
  LOOP
    CONTINUE WHEN LEAST(v_room, CASE WHEN v_step.is_aged THEN v_aged END) <= 0;
    RETURN QUERY
      WITH claimed AS (
        UPDATE jobs j
        SET status = 'processing',
            attempt = j.attempt + 1,
            lease_token = j.lease_token + 1,
            leased_by = p_instance_id,
            leased_until = p_now + p_lease,
            attempted_at = p_now,
            updated_at = p_now
        WHERE j.id = ANY (
          ARRAY(
            SELECT d.id
            FROM jobs d
            WHERE d.queue = p_queue AND d.priority = v_step.priority AND d.status = 'pending'
              AND d.run_at <= p_now - CASE WHEN v_step.is_aged THEN interval '1 minute' ELSE interval '0' END
            ORDER BY d.run_at, d.seq
            LIMIT LEAST(v_room, CASE WHEN v_step.is_aged THEN v_aged END)
            FOR NO KEY UPDATE SKIP LOCKED
          )
        )
        RETURNING j.*
      )
      SELECT c.id, c.job_type, c.payload, c.attempt, c.max_attempts, c.lease_token, c.booking_id, c.scheduled_at
      FROM claimed c
      ORDER BY c.run_at, c.seq;
    GET DIAGNOSTICS v_claimed = ROW_COUNT;
    v_room := v_room - v_claimed;
    v_aged := v_aged - CASE WHEN v_step.is_aged THEN v_claimed ELSE 0 END;
  END LOOP;
END
$$
