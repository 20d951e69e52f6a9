-- Promises: each of these leased jobs becomes what its outcome says, if the caller still holds it, with what follows from
-- it, and the attempt is on record. Answers for each: ok; stale, and nothing was done; cancelled, where that was asked for
-- or another stands pending in its place. Called by the processor, the worker and rescue_jobs. Locks: jobs by id.
CREATE OR REPLACE FUNCTION settle_jobs(p_settlements jsonb, p_now timestamptz DEFAULT now())
RETURNS TABLE (job_id uuid, lease_token bigint, answer text)
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- one plan, by key: see claim_jobs
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = 'off'
AS $$
DECLARE
  v_held uuid[];
  v_tokens bigint[];
  v_cancelled uuid[] := ARRAY[]::uuid[];
  v_wish record;
BEGIN
  WITH given AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset(p_settlements) AS s (
      id uuid, lease_token bigint, outcome text, error_message text, result jsonb
    )
  ), held AS MATERIALIZED (
    SELECT g.*, j.attempt, j.leased_by, j.attempted_at
    FROM given g
    JOIN jobs j ON j.id = g.id AND j.lease_token = g.lease_token
    WHERE j.status = 'processing'
    ORDER BY j.id
    FOR NO KEY UPDATE OF j
  ), recorded AS (
    INSERT INTO job_attempts (job_id, lease_token, attempt, instance_id, outcome, error_message, started_at, ended_at)
    SELECT h.id, h.lease_token, h.attempt, h.leased_by, h.outcome, left(h.error_message, 2000), h.attempted_at, p_now
    FROM held h
  ), done AS (
    UPDATE jobs j
    SET status = CASE h.outcome WHEN 'permanent' THEN 'discarded' ELSE h.outcome END,
        leased_until = NULL,
        processed_at = p_now,
        error_message = left(h.error_message, 2000),
        result = h.result,
        updated_at = p_now
    FROM held h
    WHERE j.id = h.id AND h.outcome IN ('processed', 'skipped', 'permanent')
  )
  SELECT array_agg(h.id), array_agg(h.lease_token) INTO v_held, v_tokens FROM held h;

  -- keys that pending jobs take, in one order for everyone, lest two such calls deadlock
  FOR v_wish IN
    SELECT NULL::uuid AS id, f.*, NULL AS outcome, NULL AS error_message
    FROM jsonb_to_recordset(p_settlements) AS s (id uuid, lease_token bigint, outcome text, follow_ups jsonb)
    JOIN unnest(v_held, v_tokens) AS h (id, lease_token) ON h.id = s.id AND h.lease_token = s.lease_token
    CROSS JOIN LATERAL jsonb_to_recordset(s.follow_ups) AS f (
      dedupe_key text, job_type text, run_at timestamptz, payload jsonb, queue text, priority integer,
      max_attempts integer, booking_id uuid
    )
    WHERE s.outcome = 'processed' AND jsonb_array_length(s.follow_ups) > 0
    UNION ALL
    SELECT j.id, j.dedupe_key, j.job_type, COALESCE(s.run_at, p_now + s.after), NULL, NULL, NULL, NULL, NULL,
      s.outcome, s.error_message
    FROM jsonb_to_recordset(p_settlements) AS s (
      id uuid, lease_token bigint, outcome text, error_message text, run_at timestamptz, after interval
    )
    JOIN unnest(v_held, v_tokens) AS h (id, lease_token) ON h.id = s.id AND h.lease_token = s.lease_token
    JOIN jobs j ON j.id = s.id
    WHERE s.outcome NOT IN ('processed', 'skipped', 'permanent')
    ORDER BY dedupe_key, job_type
  LOOP
    IF v_wish.id IS NULL THEN
      PERFORM enqueue_job(
        v_wish.job_type, COALESCE(v_wish.payload, '{}'), v_wish.run_at, v_wish.dedupe_key,
        COALESCE(v_wish.queue, 'default'), COALESCE(v_wish.priority, 1), COALESCE(v_wish.max_attempts, 4),
        v_wish.booking_id, p_now
      );
    ELSIF return_job(v_wish.id, v_wish.outcome, v_wish.error_message, v_wish.run_at, p_now) = 'cancelled' THEN
      v_cancelled := v_cancelled || v_wish.id;
    END IF;
  END LOOP;

  RETURN QUERY
    SELECT
      s.id,
      s.lease_token,
      CASE WHEN h.id IS NULL THEN 'stale' WHEN s.id = ANY (v_cancelled) THEN 'cancelled' ELSE 'ok' END
    FROM jsonb_to_recordset(p_settlements) AS s (id uuid, lease_token bigint)
    LEFT JOIN unnest(v_held, v_tokens) AS h (id, lease_token) ON h.id = s.id AND h.lease_token = s.lease_token
    ORDER BY s.id;
END
$$
