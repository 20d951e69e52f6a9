-- Promises: nobody claims from the queue for p_pause_for, or until it is resumed; what runs goes on. A pause that is on is
-- changed by people alone.
-- Called by POST /v1/job-queues/{name}/pause, and by the processor where every attempt fails. Locks: queue.
CREATE OR REPLACE FUNCTION pause_queue(
  p_actor jsonb,
  p_queue text,
  p_pause_for interval DEFAULT NULL,
  p_reason text DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO job_queues AS q (name, paused_at, resume_at, pause_reason, created_at, updated_at)
  VALUES (p_queue, p_now, p_now + p_pause_for, p_reason, p_now, p_now)
  ON CONFLICT (name) DO UPDATE
    SET paused_at = EXCLUDED.paused_at,
        resume_at = EXCLUDED.resume_at,
        pause_reason = EXCLUDED.pause_reason,
        updated_at = EXCLUDED.updated_at
    WHERE p_actor ->> 'type' <> 'system' OR q.paused_at IS NULL OR q.resume_at <= p_now;
  RETURN queue_json(p_queue, p_now);
END
$$
