-- Promises: every confirmed booking, every hold and every running auto-sync has its job, whatever took it away: a new one.
-- Answers how many did, at most p_limit; none where all were looked at less than p_every ago. Called by the job processor,
-- and by whoever repaired something. Locks: bookings and auto-syncs, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION backfill_jobs(
  p_limit integer, p_every interval DEFAULT '0', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_backfilled integer;
BEGIN
  IF EXISTS (SELECT FROM job_runs r WHERE r.instance_id = 'backfill' AND r.seen_at > p_now - p_every) THEN
    RETURN 0;
  END IF;

  INSERT INTO jobs (job_type, dedupe_key, booking_id, scheduled_at, run_at, created_at, updated_at)
  SELECT o.job_type, o.id::text, o.id, o.due_at, o.due_at, p_now, p_now
  FROM (
    SELECT
      b.id,
      CASE b.status WHEN 'confirmed' THEN 'complete_booking' ELSE 'expire_booking' END AS job_type,
      CASE b.status WHEN 'confirmed' THEN b.ends_at ELSE b.expires_at END AS due_at
    FROM bookings b
    WHERE b.status IN ('pending', 'confirmed') AND NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = b.id::text AND j.status = 'pending'
        AND j.job_type = CASE b.status WHEN 'confirmed' THEN 'complete_booking' ELSE 'expire_booking' END
    )
    LIMIT p_limit
    FOR NO KEY UPDATE OF b SKIP LOCKED
  ) o
  ON CONFLICT (dedupe_key, job_type) WHERE status = 'pending' DO NOTHING;
  GET DIAGNOSTICS v_backfilled = ROW_COUNT;
  v_backfilled := v_backfilled + backfill_auto_sync_jobs(p_limit - v_backfilled, p_now);
  IF v_backfilled < p_limit THEN
    PERFORM record_job_run('backfill', 'backfill', json_build_object('processed', v_backfilled)::jsonb, true, p_now);
  END IF;
  RETURN v_backfilled;
END
$$
