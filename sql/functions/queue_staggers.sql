-- Promises: the queues whose jobs are to start one after the other, and how many milliseconds apart.
-- Called by the processor and the worker when they begin.
CREATE OR REPLACE FUNCTION queue_staggers()
RETURNS TABLE (name text, stagger_ms integer)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT q.name, q.stagger_ms FROM job_queues q WHERE q.stagger_ms > 0
$$
