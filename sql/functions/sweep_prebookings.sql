-- Promises: a prebooking whose job is over without it, since its tries are used up or somebody cancelled it, has failed,
-- unless it was booked; a person looks at one of which nobody knows; one at a resource gets a job again. Answers how many.
-- Called by the job processor. Locks: prebookings, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION sweep_prebookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_patience CONSTANT interval := interval '1 minute';
  v_lost prebookings[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_lost := ARRAY(
    SELECT p
    FROM prebookings p
    WHERE p.status IN ('pending', 'executing') AND p.opens_at < p_now - c_patience
      AND NOT EXISTS (
        SELECT FROM jobs j
        WHERE j.dedupe_key = prebooking_job_key(p) AND j.status IN ('pending', 'processing')
      )
    ORDER BY p.opens_at, p.place_in_line
    LIMIT p_limit
    FOR NO KEY UPDATE SKIP LOCKED
  );
  UPDATE prebookings p
  SET status = CASE WHEN b.choice IS NULL THEN 'failed' ELSE 'succeeded' END,
      booked_choice = b.choice,
      confirmation = b.confirmation,
      reason = CASE WHEN b.choice IS NULL THEN 'gave_up' END,
      detail = CASE WHEN b.choice IS NULL THEN left(j.error_message, 500) END,
      needs_attention = b.choice IS NULL AND EXISTS (
        SELECT FROM prebooking_attempts a WHERE a.prebooking_id = p.id AND COALESCE(a.finding = 'unknown', true)
      ),
      updated_at = p_now
  FROM unnest(v_lost) l
  LEFT JOIN LATERAL (
    SELECT a.choice, a.confirmation FROM prebooking_attempts a WHERE a.prebooking_id = l.id AND a.finding = 'booked' LIMIT 1
  ) b ON true
  LEFT JOIN LATERAL (
    SELECT k.error_message
    FROM jobs k
    WHERE k.dedupe_key = prebooking_job_key(l) AND k.job_type = 'execute_prebooking'
    ORDER BY k.seq DESC
    LIMIT 1
  ) j ON true
  WHERE p.id = l.id AND l.provider IS NOT NULL;
  PERFORM enqueue_opening(l, p_now) FROM unnest(v_lost) l WHERE l.provider IS NULL;
  RETURN cardinality(v_lost);
END
$$
