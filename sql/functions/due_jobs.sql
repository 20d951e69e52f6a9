-- Promises: how many jobs are due, and for how long the oldest has waited, in milliseconds.
-- Called by the job processor, /readyz/jobs and `holdfast doctor`. Each half has an index that skips what lies ahead.
CREATE OR REPLACE FUNCTION due_jobs(p_now timestamptz DEFAULT now())
RETURNS TABLE (remaining_due bigint, oldest_due_age_ms bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT count(*), COALESCE((extract(epoch FROM p_now - min(d.run_at)) * 1000)::bigint, 0)
  FROM (
    SELECT j.run_at
    FROM jobs j
    WHERE j.job_type IN (
        'complete_booking', 'expire_booking', 'refresh_schedule', 'remind_booking', 'auto_sync_reminder',
        'auto_sync_pause_check'
      )
      AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
    UNION ALL
    SELECT j.run_at
    FROM pending_queues() q (name)
    JOIN jobs j ON j.queue = q.name AND j.priority IN (0, 1, 2, 3) AND j.status = 'pending' AND j.run_at <= p_now
  ) d
$$
