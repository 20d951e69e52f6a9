-- Promises: the queue has these limits; one that nobody has set has none. Called by PUT /v1/job-queues/{name}.
-- Locks: queue.
CREATE OR REPLACE FUNCTION put_queue(
  p_actor jsonb, p_queue text, p_max_running integer, p_stagger_ms integer, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO job_queues AS q (name, max_running, stagger_ms, created_at, updated_at)
  VALUES (p_queue, p_max_running, p_stagger_ms, p_now, p_now)
  ON CONFLICT (name) DO UPDATE
    SET max_running = EXCLUDED.max_running, stagger_ms = EXCLUDED.stagger_ms, updated_at = EXCLUDED.updated_at
    WHERE (q.max_running, q.stagger_ms) IS DISTINCT FROM (EXCLUDED.max_running, EXCLUDED.stagger_ms);
  RETURN queue_json(p_queue, p_now);
END
$$
