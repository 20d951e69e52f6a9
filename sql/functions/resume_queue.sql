-- Promises: the queue is claimed from again. One that is not paused stays as it is.
-- Called by POST /v1/job-queues/{name}/resume. Locks: queue.
CREATE OR REPLACE FUNCTION resume_queue(p_actor jsonb, p_queue text, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE job_queues q
  SET paused_at = NULL, resume_at = NULL, pause_reason = NULL, updated_at = p_now
  WHERE q.name = p_queue AND q.paused_at IS NOT NULL;
  RETURN queue_json(p_queue, p_now);
END
$$
