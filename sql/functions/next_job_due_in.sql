-- Promises: how long until the next job of these queues is due, or of these types, which the database does by itself;
-- nought or less where one is, NULL where there is none. Called by the worker and the processor, which sleep that long.
CREATE OR REPLACE FUNCTION next_job_due_in(
  p_queues text[], p_job_types text[] DEFAULT '{}', p_now timestamptz DEFAULT now()
)
RETURNS interval
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    -- nobody sleeps for longer than a day
    SELECT CASE WHEN min(d.run_at) IS NOT NULL THEN LEAST(min(d.run_at), p_now + interval '1 day') - p_now END
    FROM (
      -- one probe of the index for each, however many jobs there are
      SELECT (
        SELECT min(j.run_at)
        FROM jobs j
        WHERE j.queue = q.name AND j.priority = p.priority AND j.status = 'pending'
      ) AS run_at
      FROM unnest(p_queues) AS q (name)
      CROSS JOIN generate_series(0, 3) AS p (priority)
      WHERE NOT EXISTS (SELECT FROM job_queues x WHERE x.name = q.name AND queue_is_paused(x, p_now))
      UNION ALL
      SELECT (
        SELECT min(j.run_at) FROM jobs j WHERE j.job_type = t.job_type AND j.queue IS NULL AND j.status = 'pending'
      )
      FROM unnest(p_job_types) AS t (job_type)
    ) d
  );
END
$$
