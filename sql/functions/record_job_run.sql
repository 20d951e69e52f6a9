-- Promises: it is on record that somebody was here to do what is due, since when, and what came of it so far.
-- Called by the processor when it begins and ends, and by the worker now and then. Locks: the run.
CREATE OR REPLACE FUNCTION record_job_run(
  p_instance_id text, p_caller text, p_report jsonb, p_is_over boolean, p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  INSERT INTO job_runs AS r (instance_id, caller, report, started_at, seen_at, ended_at)
  VALUES (p_instance_id, p_caller, p_report, p_now, p_now, CASE WHEN p_is_over THEN p_now END)
  ON CONFLICT (instance_id) DO UPDATE
    SET report = EXCLUDED.report, seen_at = EXCLUDED.seen_at, ended_at = EXCLUDED.ended_at;
END
$$
