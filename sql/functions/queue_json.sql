-- Promises: the one JSON shape of a queue, with how much of it is due and running.
-- Called by put_queue, pause_queue, resume_queue and job_stats.
CREATE OR REPLACE FUNCTION queue_json(p_queue text, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_queue job_queues;
  v_is_paused boolean;
BEGIN
  SELECT * INTO v_queue FROM job_queues q WHERE q.name = p_queue;
  v_is_paused := queue_is_paused(v_queue, p_now);
  RETURN json_build_object(
    'name', p_queue,
    'max_running', v_queue.max_running,
    'stagger_ms', COALESCE(v_queue.stagger_ms, 0),
    'paused', v_is_paused,
    'resume_at', CASE WHEN v_is_paused THEN v_queue.resume_at END,
    'pause_reason', CASE WHEN v_is_paused THEN v_queue.pause_reason END,
    'due', (
      SELECT count(*)
      FROM jobs j
      WHERE j.queue = p_queue AND j.priority IN (0, 1, 2, 3) AND j.status = 'pending' AND j.run_at <= p_now
    ),
    'running', (SELECT count(*) FROM jobs j WHERE j.queue = p_queue AND j.status = 'processing')
  );
END
$$
