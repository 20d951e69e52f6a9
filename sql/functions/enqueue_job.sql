-- Promises: one pending job of that type under that key, due when this caller said last; a twin that is being run already
-- is left to end, and another stands pending. Answers its id. Called by whoever wants something done later.
CREATE OR REPLACE FUNCTION enqueue_job(
  p_job_type text,
  p_payload jsonb DEFAULT '{}',
  p_run_at timestamptz DEFAULT NULL,
  p_dedupe_key text DEFAULT NULL,
  p_queue text DEFAULT 'default',
  p_priority integer DEFAULT 1,
  p_max_attempts integer DEFAULT 4,
  p_booking_id uuid DEFAULT NULL,
  p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due_at timestamptz := COALESCE(p_run_at, p_now);
  v_job_id uuid;
BEGIN
  INSERT INTO jobs AS j (
    job_type, queue, dedupe_key, booking_id, payload, priority, max_attempts, scheduled_at, run_at, created_at, updated_at
  )
  VALUES (
    p_job_type, p_queue, COALESCE(p_dedupe_key, gen_random_uuid()::text), p_booking_id, p_payload, p_priority,
    p_max_attempts, v_due_at, v_due_at, p_now, p_now
  )
  -- what was asked for before, and tried perhaps, is not asked for any more
  ON CONFLICT (dedupe_key, job_type) WHERE status = 'pending' DO UPDATE
    SET queue = EXCLUDED.queue,
        payload = EXCLUDED.payload,
        priority = EXCLUDED.priority,
        attempt = 0,
        max_attempts = EXCLUDED.max_attempts,
        scheduled_at = EXCLUDED.scheduled_at,
        run_at = EXCLUDED.run_at,
        updated_at = EXCLUDED.updated_at
  RETURNING j.id INTO v_job_id;
  RETURN v_job_id;
END
$$
