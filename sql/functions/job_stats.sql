-- Promises: what a person asks of the jobs: how many of each type and status, how late they start, what is stuck, how the
-- queues stand, and when somebody last came to do them. Called by GET /v1/jobs/stats, GET /metrics and `holdfast jobs`.
-- Counts every job there is; lateness is that of first attempts of the last hour.
CREATE OR REPLACE FUNCTION job_stats(p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due record;
BEGIN
  SELECT * INTO v_due FROM due_jobs(p_now);
  RETURN json_build_object(
    'counts', (
      SELECT COALESCE(json_agg(c ORDER BY c.job_type, c.status), '[]')
      FROM (SELECT j.job_type, j.status, count(*) AS count FROM jobs j GROUP BY j.job_type, j.status) c
    ),
    'due', v_due.remaining_due,
    'oldest_due_age_ms', v_due.oldest_due_age_ms,
    'stuck', (SELECT count(*) FROM jobs j WHERE j.status = 'processing' AND j.leased_until < p_now),
    'lateness_ms', (
      SELECT json_build_object('p50', l.p[1]::bigint, 'p95', l.p[2]::bigint, 'p99', l.p[3]::bigint, 'jobs', l.jobs)
      FROM (
        SELECT
          percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
            ORDER BY extract(epoch FROM COALESCE(j.attempted_at, j.processed_at) - j.scheduled_at) * 1000
          ) AS p,
          count(*) AS jobs
        FROM jobs j
        WHERE j.processed_at > p_now - interval '1 hour' AND j.status IN ('processed', 'skipped') AND j.attempt <= 1
      ) l
    ),
    'queues', (
      SELECT COALESCE(json_agg(queue_json(q.name, p_now) ORDER BY q.name), '[]')
      FROM (
        SELECT name FROM job_queues
        UNION SELECT p.name FROM pending_queues() p (name)
        UNION SELECT j.queue FROM jobs j WHERE j.status = 'processing'
      ) q (name)
    ),
    'callers', (
      SELECT COALESCE(json_agg(r ORDER BY r.caller), '[]')
      FROM (
        SELECT x.caller, max(x.seen_at) AS last_seen_at, count(*) AS runs, count(*) FILTER (WHERE x.ended_at IS NULL) AS open
        FROM job_runs x
        GROUP BY x.caller
      ) r
    )
  );
END
$$
