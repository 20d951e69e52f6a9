-- Promises: the one JSON shape of a job. Its payload is not shown: it may hold personal data.
-- Called by get_job and list_jobs.
CREATE OR REPLACE FUNCTION job_json(p_job jobs)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_job.id,
    'job_type', p_job.job_type,
    'queue', p_job.queue,
    'dedupe_key', p_job.dedupe_key,
    'booking_id', p_job.booking_id,
    'status', p_job.status,
    'priority', p_job.priority,
    'scheduled_at', p_job.scheduled_at,
    'run_at', p_job.run_at,
    'attempt', p_job.attempt,
    'max_attempts', p_job.max_attempts,
    'leased_by', CASE p_job.status WHEN 'processing' THEN p_job.leased_by END,
    'leased_until', p_job.leased_until,
    'cancel_requested_at', p_job.cancel_requested_at,
    'error_message', p_job.error_message,
    'result', p_job.result,
    'processed_at', p_job.processed_at,
    'created_at', p_job.created_at,
    'updated_at', p_job.updated_at
  );
END
$$
