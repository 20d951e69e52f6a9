-- Promises: the queues in which something waits, each found by one probe of the index, however many jobs wait in it.
-- Called by due_jobs and job_stats.
CREATE OR REPLACE FUNCTION pending_queues()
RETURNS SETOF text
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  WITH RECURSIVE queues AS (
    (SELECT j.queue FROM jobs j WHERE j.status = 'pending' AND j.queue IS NOT NULL ORDER BY j.queue LIMIT 1)
    UNION ALL
    SELECT (
      SELECT j.queue
      FROM jobs j
      WHERE j.status = 'pending' AND j.queue IS NOT NULL AND j.queue > q.queue
      ORDER BY j.queue
      LIMIT 1
    )
    FROM queues q
    WHERE q.queue IS NOT NULL
  )
  SELECT q.queue FROM queues q WHERE q.queue IS NOT NULL
$$
