-- Promises: how many more jobs of a queue may run: none while it is paused, NULL where nothing limits it. Where something
-- does, only one caller at a time is told; another, and whoever comes while it claims, is told none, and comes again.
-- Called by claim_jobs. Locks: queue, SKIP LOCKED.
CREATE OR REPLACE FUNCTION queue_room(p_queue text, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_queue job_queues;
BEGIN
  SELECT * INTO v_queue FROM job_queues q WHERE q.name = p_queue;
  IF queue_is_paused(v_queue, p_now) THEN
    RETURN 0;
  END IF;
  IF v_queue.max_running IS NULL THEN
    RETURN NULL;
  END IF;

  -- as it is by now
  SELECT * INTO v_queue FROM job_queues q WHERE q.name = p_queue FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND OR queue_is_paused(v_queue, p_now) THEN
    RETURN 0;
  END IF;
  RETURN v_queue.max_running - (SELECT count(*) FROM jobs j WHERE j.queue = p_queue AND j.status = 'processing');
END
$$
