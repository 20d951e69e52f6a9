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
  v_ids uuid[];
  v_tokens bigint[];
  v_held boolean[];
  v_wishes jsonb;
  v_cancelled uuid[] := ARRAY[]::uuid[];
  v_wish record;
BEGIN
  WITH given AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset(p_settlements) AS s (
      id uuid, lease_token bigint, outcome text, error_message text, result jsonb, run_at timestamptz, after interval,
      follow_ups jsonb
    )
  ), held AS MATERIALIZED (
    SELECT g.*, j.attempt, j.leased_by, j.attempted_at, j.dedupe_key, j.job_type
    FROM given g
    JOIN jobs j ON j.id = g.id AND j.lease_token = g.lease_token
    WHERE j.status = 'processing'
    ORDER BY j.id
    FOR NO KEY UPDATE OF j
  ), recorded AS (
    INSERT INTO job_attempts (job_id, lease_token, attempt, instance_id, outcome, error_message, started_at, ended_at)
    SELECT h.id, h.lease_token, h.attempt, h.leased_by, h.outcome, left(h.error_message, 2000), h.attempted_at, p_now
    FROM held h
    -- one that did the job stands on the job
    WHERE h.outcome <> 'processed'
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
  SELECT
    array_agg(g.id),
    array_agg(g.lease_token),
    array_agg(h.id IS NOT NULL),
    jsonb_agg(h) FILTER (WHERE h.outcome NOT IN ('processed', 'skipped', 'permanent') OR h.follow_ups IS NOT NULL)
  INTO v_ids, v_tokens, v_held, v_wishes
  FROM given g
  LEFT JOIN held h USING (id, lease_token);

  -- keys that pending jobs take, in one order for everyone, lest two such calls deadlock
  FOR v_wish IN
    SELECT NULL::uuid AS id, f.*, NULL AS outcome, NULL AS error_message
    FROM jsonb_to_recordset(v_wishes) AS w (outcome text, follow_ups jsonb)
    CROSS JOIN LATERAL jsonb_to_recordset(w.follow_ups) AS f (
      dedupe_key text, job_type text, run_at timestamptz, payload jsonb, queue text, priority integer,
      max_attempts integer, booking_id uuid
    )
    WHERE w.outcome = 'processed'
    UNION ALL
    SELECT w.id, w.dedupe_key, w.job_type, COALESCE(w.run_at, p_now + w.after), NULL, NULL, NULL, NULL, NULL,
      w.outcome, w.error_message
    FROM jsonb_to_recordset(v_wishes) AS w (
      id uuid, outcome text, error_message text, run_at timestamptz, after interval, dedupe_key text, job_type text
    )
    WHERE w.outcome NOT IN ('processed', 'skipped', 'permanent')
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
      CASE WHEN NOT s.is_held THEN 'stale' WHEN s.id = ANY (v_cancelled) THEN 'cancelled' ELSE 'ok' END
    FROM unnest(v_ids, v_tokens, v_held) AS s (id, lease_token, is_held)
    ORDER BY s.id;
END
$$
