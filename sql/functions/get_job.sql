-- Promises: one job with each attempt that has ended, oldest first; the one that did the job is told by the job itself.
-- Called by GET /v1/jobs/{id}, cancel_job and retry_job.
-- Raises: SB021 job_not_found.
CREATE OR REPLACE FUNCTION get_job(p_job_id uuid)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job jobs;
BEGIN
  SELECT * INTO v_job FROM jobs j WHERE j.id = p_job_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'job_not_found' USING ERRCODE = 'SB021', DETAIL = json_build_object('job_id', p_job_id);
  END IF;
  RETURN to_jsonb(job_json(v_job)) || jsonb_build_object(
    'attempts', (
      SELECT COALESCE(
        jsonb_agg(
          jsonb_build_object(
            'attempt', a.attempt, 'instance_id', a.instance_id, 'outcome', a.outcome, 'error_message', a.error_message,
            'started_at', a.started_at, 'ended_at', a.ended_at
          )
          ORDER BY a.lease_token
        ),
        '[]'
      )
      FROM (
        SELECT o.attempt, o.instance_id, o.outcome, o.error_message, o.started_at, o.ended_at, o.lease_token
        FROM job_attempts o
        WHERE o.job_id = p_job_id
        UNION ALL
        SELECT v_job.attempt, v_job.leased_by, v_job.status, v_job.error_message, v_job.attempted_at, v_job.processed_at,
          v_job.lease_token
        WHERE v_job.status = 'processed' AND v_job.attempt > 0
      ) a
    )
  );
END
$$
