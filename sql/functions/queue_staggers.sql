-- Promises: the queues that somebody has set, and how many milliseconds apart their jobs are to start.
-- Called by the processor and the worker, when they begin and now and then.
CREATE OR REPLACE FUNCTION queue_staggers()
RETURNS TABLE (name text, stagger_ms integer)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT q.name, q.stagger_ms FROM job_queues q
$$
