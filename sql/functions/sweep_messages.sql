-- Promises: a message whose job is over without it, since its tries are used up or somebody cancelled it, has failed.
-- Answers how many. Called by the job processor. Locks: messages, SKIP LOCKED.
CREATE OR REPLACE FUNCTION sweep_messages(p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_patience CONSTANT interval := interval '1 minute';
  v_swept integer;
BEGIN
  UPDATE messages m
  SET status = 'failed',
      -- of one that was about to be sent nobody knows whether it was
      reason = CASE m.status WHEN 'sending' THEN 'outcome_unknown' ELSE 'gave_up' END,
      updated_at = p_now
  WHERE m.id IN (
    SELECT x.id
    FROM messages x
    WHERE x.status IN ('pending', 'sending') AND x.created_at < p_now - c_patience
      AND NOT EXISTS (
        SELECT FROM jobs j
        WHERE j.dedupe_key = x.id::text AND j.job_type = 'send_message' AND j.status = 'pending'
      )
      AND NOT EXISTS (
        SELECT FROM jobs j
        WHERE j.queue = 'messages' AND j.dedupe_key = x.id::text AND j.status = 'processing'
      )
    ORDER BY x.created_at
    LIMIT p_limit
    FOR NO KEY UPDATE SKIP LOCKED
  );
  GET DIAGNOSTICS v_swept = ROW_COUNT;
  RETURN v_swept;
END
$$
