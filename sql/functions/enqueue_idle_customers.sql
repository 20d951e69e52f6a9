-- Promises: customers with whom nothing happened for p_keep have a job that erases them, at most p_limit a call, one job each few
-- seconds, lest they are all at once. Looks at so many customers a minute, where the look before ended, and at all of them once
-- a day. Answers how many. Called by the job processor. Locks: their jobs.
CREATE OR REPLACE FUNCTION enqueue_idle_customers(p_limit integer, p_keep interval, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_run CONSTANT text := 'idle_customers';
  c_looked_at CONSTANT integer := 500;
  c_apart CONSTANT interval := interval '5 seconds';
  v_run job_runs;
  v_after uuid;
  v_rest interval;
  v_last uuid;
  v_idle uuid[];
BEGIN
  SELECT * INTO v_run FROM job_runs r WHERE r.instance_id = c_run;
  v_after := (v_run.report ->> 'after')::uuid;
  v_rest := CASE WHEN v_after IS NULL THEN interval '1 day' ELSE interval '1 minute' END;
  IF v_run.seen_at > p_now - v_rest THEN
    RETURN 0;
  END IF;

  WITH looked_at AS MATERIALIZED (
    SELECT c.id, is_idle_customer(c, p_now - p_keep) AS is_idle
    FROM customers c
    WHERE v_after IS NULL OR c.id > v_after
    ORDER BY c.id
    LIMIT c_looked_at
  ), chosen AS (
    SELECT l.id FROM looked_at l WHERE l.is_idle ORDER BY l.id LIMIT p_limit
  )
  SELECT
    ARRAY(SELECT h.id FROM chosen h ORDER BY h.id),
    CASE
      -- with as many as it may, the next look begins behind the last of them
      WHEN (SELECT count(*) FROM chosen) = p_limit THEN (SELECT h.id FROM chosen h ORDER BY h.id DESC LIMIT 1)
      WHEN (SELECT count(*) FROM looked_at) = c_looked_at THEN (SELECT l.id FROM looked_at l ORDER BY l.id DESC LIMIT 1)
    END
  INTO v_idle, v_last;

  PERFORM enqueue_job(
    'erase_idle_customer', jsonb_build_object('customer_id', i.id), p_now + (i.n - 1) * c_apart, i.id::text, 'privacy',
    p_now => p_now
  )
  FROM unnest(v_idle) WITH ORDINALITY i (id, n);
  PERFORM record_job_run(
    c_run, c_run, jsonb_build_object('after', v_last, 'found', cardinality(v_idle)), v_last IS NULL, p_now
  );
  RETURN cardinality(v_idle);
END
$$
